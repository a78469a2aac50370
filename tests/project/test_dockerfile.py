"""A Dockerfile's common subset is a base and steps; every other line is refused by its number, with why."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import flyte
import pytest

from flyte_build.kernel.errors import LoadError, RefusedError
from flyte_build.project.images import read_image
from flyte_build.recipe import CopyFiles, EnvVars, Recipe, RegistryBase, RunCommands, SecretMount, Step, WorkDir

FILE = r"""# syntax=docker/dockerfile:1.10
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm AS base
LABEL team=ml
WORKDIR /root
ENV LANG=C.UTF-8 PATH=/opt/x:$PATH GREETING="a b"
ENV OLD form of it
# a comment
RUN apt-get update && \
    # one within
    apt-get install -y git
RUN ["pip", "install", "a b"]
COPY requirements.txt /root/
RUN pip install -r /root/requirements.txt
COPY data src ./both/
ARG tag=v1
RUN echo $tag
USER root
CMD ["python"]
EXPOSE 80
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "image/data/deep").mkdir(parents=True)
    (tmp_path / "image/src").mkdir()
    for name in ("requirements.txt", "data/a.csv", "data/a.log", "data/deep/b.log", "src/m.py", "one.txt", "two.txt"):
        (tmp_path / "image" / name).write_text("x\n")
    return tmp_path


def read(project: Path, text: str) -> Recipe:
    (project / "image/Dockerfile").write_text(text)
    image = flyte.Image.from_dockerfile(project / "image/Dockerfile", registry="r", name="n")
    return read_image(image, "environment e", project)


def steps(project: Path, text: str) -> tuple[Step, ...]:
    return read(project, f"FROM x:1\n{text}\n").steps


def test_a_whole_one(project: Path) -> None:
    recipe = read(project, FILE)
    assert recipe.base == RegistryBase("python:3.12-slim-bookworm")
    assert recipe.python is None
    assert recipe.steps == (
        WorkDir("/root"),
        EnvVars((("LANG", "C.UTF-8"), ("PATH", "/opt/x:$PATH"), ("GREETING", "a b"))),
        EnvVars((("OLD", "form of it"),)),
        RunCommands(("apt-get update &&     apt-get install -y git", "pip install 'a b'")),
        CopyFiles("image/requirements.txt", "/root/", False),
        RunCommands(("pip install -r /root/requirements.txt",)),
        CopyFiles("image/data", "./both/", True),
        CopyFiles("image/src", "./both/", True),
        RunCommands(("export tag=v1; echo $tag",)),
    )


def test_variables_of_the_file_are_known(project: Path) -> None:
    text = "ENV HOME_OF=/srv\nARG where=${HOME_OF}/app\nWORKDIR $where\nCOPY one.txt ${NOWHERE:-$where}/\n"
    with pytest.raises(RefusedError, match="nothing in the file sets"):
        steps(project, text)
    assert steps(project, text.replace("${NOWHERE:-$where}", "$where"))[1:] == (
        WorkDir("/srv/app"),
        CopyFiles("image/one.txt", "/srv/app/", False),
    )


def test_wildcards_and_what_is_ignored(project: Path) -> None:
    (project / "image/.dockerignore").write_text("# what\n*.md\n**/*.log\ndata/deep\nsrc/*.pyc\n!data/a.log\n")
    assert steps(project, "COPY *.txt /srv/") == tuple(
        CopyFiles(f"image/{name}.txt", "/srv/", False) for name in ("one", "requirements", "two")
    )
    (copied,) = steps(project, "COPY data /srv/data")
    assert copied == CopyFiles("image/data", "/srv/data", True, ("**/*.log", "deep", "!a.log"))
    (whole,) = steps(project, "ADD --link . /srv")
    assert whole == CopyFiles("image", "/srv", True, ("*.md", "**/*.log", "data/deep", "src/*.pyc", "!data/a.log"))
    (project / "image/notes.md").write_text("x")
    with pytest.raises(RefusedError, match=r"Dockerfile:2: `COPY notes\.md /srv/`: \.dockerignore leaves it out"):
        steps(project, "COPY notes.md /srv/")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("COPY --from=base /x /y", "`--from=base`: another stage's files are not at hand"),
        ("COPY --chown=1:1 one.txt /", "`--chown=1:1`: is not known here"),
        ("RUN --mount=type=cache,target=/c make", "`--mount=type=cache,target=/c` asks for what a sealed step has not"),
        ("RUN --mount=type=bind,target=/c make", "asks for what a sealed step has not"),
        ("RUN --network=none make", "`--network=none` asks for what a sealed step has not"),
        ("COPY <<A <<B /srv/\nA\nB", "expected one here-document"),
        ("COPY <<A /srv/a\n$NOWHERE\nA", r"nothing in the file sets \$NOWHERE: quote"),
        ("ENTRYPOINT [\"x\"]", "a task's command would become its arguments"),
        ("ONBUILD RUN x", "about other images"),
        ("SHELL bash -c", "expected a JSON array"),
        ("USER app", "only `USER root` means the same"),
        ("ARG token", "expected a default"),
        ("ADD https://h.example/x /x", "no hash"),
        ("COPY ../x /x", "not in the Dockerfile's folder"),
        ("COPY one.txt two.txt /srv", "expected a folder, with a slash"),
        ("WORKDIR $SOMEWHERE", r"nothing in the file sets \$SOMEWHERE"),
        ("MAKE it", "no instruction that is known here"),
        ("ENV 'open", "expected|cannot be read"),
    ],
)  # fmt: skip
def test_a_line_that_has_no_place_is_refused_by_its_number(project: Path, line: str, why: str) -> None:
    with pytest.raises(RefusedError, match=f"environment e: Dockerfile:3: .*(?:{why})") as e:
        steps(project, f"RUN true\n{line}")
    assert "from_base" in str(e.value.hint)


def test_what_buildkit_gives_is_told_by_the_machine_that_the_step_is_for(project: Path) -> None:
    """``ARG TARGETPLATFORM`` has no default, and needs none."""
    text = """ARG TARGETPLATFORM
FROM --platform=$TARGETPLATFORM x:1
ARG TARGETARCH
ARG TARGETOS
RUN wget tool-$TARGETOS-$TARGETARCH
RUN echo $TARGETPLATFORM"""
    (run,) = read(project, text).steps
    assert isinstance(run, RunCommands)
    shown = subprocess.run(
        ["sh", "-c", run.commands[0].replace("wget", "echo")], capture_output=True, text=True, check=True,
        env={"PATH": f"{project}:{os.environ['PATH']}"},
    ).stdout  # fmt: skip
    assert re.fullmatch(r"tool-linux-(amd64|arm64)\n", shown)
    # Asked for before FROM alone, it is not known in the stage.
    assert run.commands[1] == "echo $TARGETPLATFORM"
    with pytest.raises(RefusedError, match=r"nothing in the file sets \$TARGETARCH"):
        read(project, "FROM x:1\nARG TARGETARCH\nCOPY one-$TARGETARCH.txt /")


def test_an_archive_that_would_be_unpacked(project: Path) -> None:
    (project / "image/x.tar.gz").write_bytes(b"x")
    with pytest.raises(RefusedError, match="ADD would unpack it"):
        steps(project, "ADD x.tar.gz /srv/")
    assert steps(project, "COPY x.tar.gz /srv/") == (CopyFiles("image/x.tar.gz", "/srv/", False),)


def test_what_is_not_there(project: Path) -> None:
    with pytest.raises(LoadError, match=r"Dockerfile:2: `COPY no\.txt /`: .*nothing is there to copy"):
        steps(project, "COPY no.txt /")
    with pytest.raises(LoadError, match="no FROM in it"):
        read(project, "# nothing\n")
    with pytest.raises(RefusedError, match="Dockerfile:1: `RUN x`: expected FROM before it"):
        read(project, "RUN x\nFROM y")
    image = flyte.Image.from_dockerfile(project / "none/Dockerfile", registry="r", name="n")
    with pytest.raises(LoadError, match="cannot be read"):
        read_image(image, "environment e", project)


def test_stages_that_stand_on_one_another_are_one(project: Path) -> None:
    text = """ARG TAG=3
FROM x:$TAG AS Low
ENV A=1
RUN low
FROM elsewhere:2 AS tools
COPY --from=nowhere /x /y
ENTRYPOINT ["/tool"]
FROM low AS high
ARG TAG
RUN echo $TAG
FROM high
RUN top $A
"""
    recipe = read(project, text)
    assert recipe.base == RegistryBase("x:3")
    assert recipe.steps == (EnvVars((("A", "1"),)), RunCommands(("low", "export TAG=3; echo $TAG", "top $A")))


def test_here_documents(project: Path) -> None:
    ran = steps(project, "ENV WHO=me\nRUN <<EOF\nset -e\necho $WHO\nEOF\nRUN python3 - <<'PY'\nprint(1)\nPY\nRUN true")
    assert ran[1:] == (RunCommands(("set -e\necho $WHO\n", "python3 - <<'PY'\nprint(1)\nPY\n", "true")),)
    text = "ENV WHO=me\nCOPY <<-EOF /srv/\n\tI am $WHO\n\tEOF\nCOPY <<'RAW' /etc/raw\n$WHO # no comment\nRAW"
    assert steps(project, text)[1:] == (
        RunCommands(
            (
                "mkdir -p \"$(dirname /srv/EOF)\" && cat >/srv/EOF <<'EOF'\nI am me\nEOF\n",
                "mkdir -p \"$(dirname /etc/raw)\" && cat >/etc/raw <<'RAW'\n$WHO # no comment\nRAW\n",
            )
        ),
    )
    (scripted,) = steps(project, "RUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF")
    assert isinstance(scripted, RunCommands)
    assert scripted.commands[0].startswith("cat >/tmp/.run <<'EOF'\n#!/usr/bin/env python3\nprint(1)\nEOF\n")


def test_another_shell_runs_what_is_no_list(project: Path) -> None:
    text = 'SHELL ["/bin/bash", "-o", "pipefail", "-c"]\nRUN a | b\nRUN ["c", "d"]'
    assert steps(project, text) == (RunCommands(("/bin/bash -o pipefail -c 'a | b'", "c d")),)


def test_mounts_that_leave_nothing(project: Path) -> None:
    text = (
        "RUN --mount=type=cache,target=/root/.cache/pip --mount=type=cache,target=/var/cache/apt,sharing=locked pip\n"
    )
    text += "RUN --mount=type=secret,id=token fetch\nRUN --mount=type=secret,id=token,env=TOKEN again\nRUN end"
    assert steps(project, text) == (
        RunCommands(("pip",)),
        RunCommands(("fetch",), (SecretMount("token", path="/run/secrets/token"),)),
        RunCommands(("again",), (SecretMount("token", env="TOKEN"),)),
        RunCommands(("end",)),
    )
