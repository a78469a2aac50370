"""A Dockerfile's common subset is a base and steps; every other line is refused by its number, with why."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import flyte
import pytest

from flyte_build.kernel.errors import LoadError, RefusedError
from flyte_build.project.images import read_image
from flyte_build.recipe import (
    CopyFiles,
    EnvVars,
    ImageSettings,
    Mount,
    Recipe,
    RegistryBase,
    RunCommands,
    Scratch,
    SecretMount,
    Stage,
    Step,
    WorkDir,
)

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


def run(*commands: str, user: str | None = "", based: bool = True, **more: Any) -> RunCommands:
    """As RUN has it: by whoever and whatever the base says, unless USER or SHELL said another."""
    return RunCommands(commands, user=user, based=based, **more)


def left(recipe: Recipe) -> str:
    """Why the file is left to another builder."""
    (step,) = recipe.steps
    assert isinstance(step, RunCommands)
    assert step.delegation is not None
    return step.delegation.why


def copied(source: str, target: str, folder: bool = False, *ignore: str, **more: Any) -> CopyFiles:
    return CopyFiles(f"image/{source}".rstrip("/"), target, folder, ignore, **{"owner": (0, 0), **more})


def test_a_whole_one(project: Path) -> None:
    recipe = read(project, FILE)
    assert recipe.base == RegistryBase("python:3.12-slim-bookworm")
    assert recipe.python is None
    assert recipe.steps == (
        WorkDir("/root"),
        EnvVars((("LANG", "C.UTF-8"), ("PATH", "/opt/x:$PATH"), ("GREETING", "a b"))),
        EnvVars((("OLD", "form of it"),)),
        run("apt-get update &&     apt-get install -y git"),
        run("pip install 'a b'", based=False),
        copied("requirements.txt", "/root/"),
        run("pip install -r /root/requirements.txt"),
        copied("data", "./both/", True),
        copied("src", "./both/", True),
        run("export tag=v1; echo $tag"),
        ImageSettings('{"Cmd": ["python"], "ExposedPorts": {"80/tcp": {}}, "Labels": {"team": "ml"}, "User": "root"}'),
    )


def test_variables_of_the_file_are_known(project: Path) -> None:
    text = "ENV HOME_OF=/srv\nARG where=${HOME_OF}/app\nWORKDIR $where\nCOPY ${NOWHERE:-one}.txt $where/\n"
    assert steps(project, text.replace("${NOWHERE:-one}", "${where:+one}"))[1:] == (
        WorkDir("/srv/app"),
        copied("one.txt", "/srv/app/"),
    )


def test_what_only_the_base_sets_is_left_for_it(project: Path) -> None:
    text = "ENV A=${LOW:+:$LOW} B='$x' C=$B\nWORKDIR $APP_HOME\nCOPY one.txt $APP_HOME/x/\nENV LOW=1\nWORKDIR /$LOW"
    found = steps(project, text)
    assert found[:2] == (EnvVars((("A", "${LOW:+:$LOW}"), ("B", "\\$x"), ("C", "$B"))), WorkDir("$APP_HOME"))
    assert isinstance(found[2], RunCommands)
    assert found[2].copies[0].destination == "$APP_HOME/x/"
    assert found[-1] == WorkDir("/1")


def test_wildcards_and_what_is_ignored(project: Path) -> None:
    (project / "image/.dockerignore").write_text("# what\n*.md\n**/*.log\ndata/deep\nsrc/*.pyc\n!data/a.log\n")
    assert steps(project, "COPY *.txt none* /srv/") == tuple(
        copied(f"{name}.txt", "/srv/") for name in ("one", "requirements", "two")
    )
    assert steps(project, "COPY data /srv/data") == (copied("data", "/srv/data", True, "**/*.log", "deep", "!a.log"),)
    whole = copied("", "/srv", True, "*.md", "**/*.log", "data/deep", "src/*.pyc", "!data/a.log")
    assert steps(project, "ADD --link . /srv") == (whole,)
    (project / "image/notes.md").write_text("x")
    with pytest.raises(RefusedError, match=r"Dockerfile:2: `COPY notes\.md /srv/`: \.dockerignore leaves it out"):
        steps(project, "COPY notes.md /srv/")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("COPY --from=7 /x /y", "no stage before it is called `7`, and no image can be"),
        ("COPY --chmod=rw one.txt /", "`--chmod=rw`: expected a mode such as 755"),
        ("RUN --mount=type=cache make", "expected a target"),
        ("RUN --mount=type=bind,source=no.txt,target=/c make", "nothing is there to copy"),
        ("COPY <<A <<B /srv\nA\nB", "several files are written: expected a folder"),
        ("COPY one.txt <<B /srv/\nB", "expected here-documents only"),
        ("SHELL bash -c", "expected a JSON array"),
        ("USER a b", "expected a user's name or number"),
        ("EXPOSE many", "`many`: expected a port"),
        ("HEALTHCHECK --often CMD x", "`--often`: expected --interval"),
        ("COPY ../x /x", "not in the Dockerfile's folder"),
        ("COPY one.txt two.txt /srv", "expected a folder, with a slash"),
        ("WORKDIR ${X", "is no variable"),
        ("MAKE it", "no instruction that is known here"),
        ("ENV 'open", "expected|cannot be read"),
    ],
)  # fmt: skip
def test_a_line_that_has_no_place_is_refused_by_its_number(project: Path, line: str, why: str) -> None:
    with pytest.raises((RefusedError, LoadError), match=f"environment e: Dockerfile:3: .*(?:{why})") as e:
        steps(project, f"RUN true\n{line}")
    assert e.value.hint is None or "from_base" in e.value.hint


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
    with pytest.raises(LoadError, match=r"image/one-amd64\.txt: nothing is there"):
        read(project, "FROM x:1\nARG TARGETARCH\nCOPY one-$TARGETARCH.txt /")
    (project / "image/Dockerfile").write_text("FROM x:1\nARG TARGETARCH\nCOPY one-$TARGETARCH.txt /")
    both = ("linux/amd64", "linux/arm64")
    image = flyte.Image.from_dockerfile(project / "image/Dockerfile", registry="r", name="n", platform=both)
    assert "nothing in the file sets $TARGETARCH" in left(read_image(image, "environment e", project))


def test_an_argument_without_a_value_is_empty(project: Path) -> None:
    text = "ARG token\nARG more=${token:-none}\nRUN echo $token $more\nENV more=mine\nRUN echo $more"
    found = steps(project, text)
    assert found == (run("export more=none; echo $token $more"), EnvVars((("more", "mine"),)), run("echo $more"))


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
    assert recipe.steps == (EnvVars((("A", "1"),)), run("low", "export TAG=3; echo $TAG", "top $A"))
    assert recipe.stages == ()


def test_here_documents(project: Path) -> None:
    ran = steps(project, "ENV WHO=me\nRUN <<EOF\nset -e\necho $WHO\nEOF\nRUN python3 - <<'PY'\nprint(1)\nPY\nRUN true")
    assert ran[1:] == (run("set -e\necho $WHO\n", "python3 - <<'PY'\nprint(1)\nPY\n", "true"),)
    text = "ENV WHO=me\nCOPY <<-EOF /srv/\n\tI am $WHO\n\tEOF\nCOPY <<'RAW' /etc/raw\n$WHO # no comment\nRAW"
    assert steps(project, text)[1:] == (
        RunCommands(
            (
                "mkdir -p /srv && cat >/srv/EOF <<'EOF'\nI am me\nEOF\n",
                "mkdir -p /etc && cat >/etc/raw <<'RAW'\n$WHO # no comment\nRAW\n",
            )
        ),
    )
    (scripted,) = steps(project, "RUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF")
    assert isinstance(scripted, RunCommands)
    assert scripted.commands[0].startswith("cat >/tmp/.run <<'EOF'\n#!/usr/bin/env python3\nprint(1)\nEOF\n")


def test_here_documents_with_an_owner_and_a_mode(project: Path) -> None:
    text = "COPY --chown=app --chmod=700 <<A <<B /opt/\na\nA\nb\nB\n"
    (made,) = steps(project, text)
    assert isinstance(made, RunCommands)
    assert made.user is None
    assert [command.splitlines()[-2:] for command in made.commands] == [
        ["chown app /opt/A", "chmod 700 /opt/A"],
        ["chown app /opt/B", "chmod 700 /opt/B"],
    ]


def test_what_looks_like_a_here_document(project: Path) -> None:
    assert steps(project, 'RUN cat <<<"word"\nRUN true') == (run('cat <<<"word"', "true"),)


def test_another_shell_runs_what_is_no_list(project: Path) -> None:
    text = 'SHELL ["/bin/bash", "-o", "pipefail", "-c"]\nRUN a | b\nRUN ["c", "d"]'
    assert steps(project, text) == (run("/bin/bash -o pipefail -c 'a | b'", "c d", based=False),)


def test_mounts_that_leave_nothing(project: Path) -> None:
    text = (
        "RUN --mount=type=cache,target=/root/.cache/pip --mount=type=cache,target=/var/cache/apt,sharing=locked pip\n"
    )
    text += "RUN --mount=type=secret,id=token fetch\nRUN --mount=type=secret,id=token,env=TOKEN again\n"
    text += "RUN --mount=type=secret,id=token,uid=5,mode=0440 third\nRUN --network=none --security=sandbox end"
    at = "/run/secrets/token"
    assert steps(project, text) == (
        run("pip"),
        run("fetch", secrets=(SecretMount("token", path=at),)),
        run("again", secrets=(SecretMount("token", env="TOKEN"),)),
        run("third", secrets=(SecretMount("token", path=at, mode=0o440, owner=(5, 0)),)),
        run("end", offline=True),
    )


def test_mounts_of_folders(project: Path) -> None:
    text = (
        "FROM a AS low\nFROM x:1\nRUN --mount=type=cache,target=/c,id=x,uid=7 --mount=type=tmpfs,target=/t,size=9 m\n"
    )
    text += (
        "RUN --mount=target=/src --mount=type=bind,src=one.txt,dst=one.txt,rw --mount=from=low,target=/low,source=/x m"
    )
    recipe = read(project, text)
    (first, second) = recipe.steps
    assert first == run("m", mounts=(Mount("cache", "/c", owner=(7, 0)), Mount("tmpfs", "/t")))
    bound = (("/src", 0, "/", False), ("one.txt", 1, "/one.txt", True), ("/low", 2, "/x", False))
    assert second == run("m", mounts=tuple(Mount("bind", *row) for row in bound))
    folder = "the Dockerfile's folder"
    assert recipe.stages == (
        Stage(folder, Scratch(), (copied("", "/", True),)),
        Stage(folder, Scratch(), (copied("one.txt", "/one.txt"),)),
        Stage("low", RegistryBase("a")),
    )


def test_a_language_of_its_own(project: Path) -> None:
    said = left(read(project, "# syntax=r.example/other:1\nFROM x"))
    assert "Dockerfile:1: `# syntax=r.example/other:1`: another language" in said
    assert read(project, "# syntax = docker/dockerfile:1.7-labs\nFROM x").steps == ()
