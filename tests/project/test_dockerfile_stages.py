"""What a Dockerfile copies of stages, images and archives, and what it says of users and the configuration."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from flyte_build.kernel.errors import RefusedError
from flyte_build.recipe import (
    CopyFiles,
    EnvVars,
    ImageSettings,
    RegistryBase,
    RunCommands,
    Scratch,
    Stage,
    TreeCopy,
    WorkDir,
)

from .test_dockerfile import copied, project, read, run, steps

__all__ = ["project"]


def sealed(*copies: TreeCopy) -> RunCommands:
    return RunCommands((), copies=copies)


def test_what_is_copied_of_a_stage(project: Path) -> None:
    """By name and by number; a stage comes after those that it takes from, and one that nothing needs is not there."""
    recipe = read(
        project,
        """FROM one AS Fetch
RUN fetch
FROM scratch AS none
MAKE nothing of it
FROM two AS build
COPY --from=fetch /got /in/
COPY one.txt .
RUN build
FROM build AS tested
RUN check
FROM x:1
COPY --from=build --chown=app:app --chmod=u=rwX /out/*.so /out/bin ./lib/
COPY --from=0 /got /got
COPY --from=r.example/tool@sha256:00 /uv /uvx /bin/
RUN use
COPY --from=BUILD /late /
""",
    )
    fetch = Stage("fetch", RegistryBase("one"), (run("fetch"),))
    build = Stage(
        "build",
        RegistryBase("two"),
        (sealed(TreeCopy(0, ("/got",), "/in/")), copied("one.txt", "."), run("build")),
    )
    assert recipe.stages == (fetch, build, Stage("r.example/tool@sha256:00", RegistryBase("r.example/tool@sha256:00")))
    assert recipe.steps == (
        sealed(
            TreeCopy(1, ("/out/*.so", "/out/bin"), "./lib/", "app:app", "u=rwX"),
            TreeCopy(0, ("/got",), "/got"),
            TreeCopy(2, ("/uv", "/uvx"), "/bin/"),
        ),
        run("use"),
        sealed(TreeCopy(1, ("/late",), "/")),
    )
    assert recipe.stage(1).stages == (fetch,)


def test_what_the_image_stands_on_may_be_copied_from_too(project: Path) -> None:
    recipe = read(project, "FROM a AS low\nRUN low\nFROM low AS mid\nFROM mid\nCOPY --from=low /x /y")
    assert recipe.base == RegistryBase("a")
    assert recipe.stages == (Stage("low", RegistryBase("a"), (run("low"),)),)
    assert recipe.steps == (run("low"), sealed(TreeCopy(0, ("/x",), "/y")))


def test_the_last_stage_needs_a_system(project: Path) -> None:
    with pytest.raises(RefusedError, match="Dockerfile:1: `FROM scratch`: a task needs a system"):
        read(project, "FROM scratch\nCOPY one.txt /")
    with pytest.raises(RefusedError, match="several things are copied"):
        read(project, "FROM a AS b\nFROM x\nCOPY --from=b /x /y /z")


def test_to_whom_copied_files_belong(project: Path) -> None:
    text = "USER app\nCOPY one.txt /a/\nCOPY --chown=5 one.txt /b/\nCOPY --chown=5:6 --chmod=0600 one.txt /c/\n"
    found = [step for step in steps(project, text) if isinstance(step, CopyFiles)]
    assert [(step.owner, step.mode) for step in found] == [((0, 0), None), ((5, 5), None), ((5, 6), 0o600)]


@pytest.mark.parametrize(
    "line",
    ["COPY --chown=app data /x", "COPY --chmod=700 data /x", "COPY --chmod=+x data /x", "COPY --chown=$WHO data /x"],
)
def test_a_copy_that_only_a_sandbox_can_make(project: Path, line: str) -> None:
    recipe = read(project, f"FROM x:1\n{line}")
    (step,) = recipe.steps
    assert isinstance(step, RunCommands)
    assert recipe.stages == (Stage("the Dockerfile's folder", Scratch(), (copied("data", "/data", True),)),)
    assert step.copies[0].sources == ("/data",)


def test_a_target_that_a_command_may_have_made(project: Path) -> None:
    """A file goes into a folder that is there; what a command made is known in the sandbox only."""
    assert steps(project, "COPY one.txt /app") == (copied("one.txt", "/app"),)
    (_, step) = steps(project, "RUN mkdir /app\nCOPY one.txt /app")
    assert step == sealed(TreeCopy(0, ("/one.txt",), "/app"))
    assert steps(project, "RUN x\nCOPY one.txt /etc/my.conf")[1] == copied("one.txt", "/etc/my.conf")


def test_an_archive_is_unpacked_by_add(project: Path) -> None:
    with tarfile.open(project / "image/some[1].tgz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("x"), io.BytesIO())
    assert steps(project, "COPY some*.tgz /srv/") == (copied("some[1].tgz", "/srv/"),)
    assert steps(project, "ADD some*.tgz /srv") == (sealed(TreeCopy(0, ("/some\\[1].tgz",), "/srv", unpack=True)),)
    assert steps(project, "ADD one.txt /srv/") == (copied("one.txt", "/srv/"),)


def test_users(project: Path) -> None:
    text = "RUN a\nWORKDIR /w\nUSER app:staff\nRUN b\nWORKDIR in\nUSER 0\nRUN c\nWORKDIR /r\nUSER $NB_USER"
    assert steps(project, text) == (
        run("a"),
        WorkDir("/w"),
        run("b", user="app:staff"),
        sealed(TreeCopy(0, (), "in", chown="app:staff")),
        WorkDir("in", made=True),
        run("c", user=None),
        WorkDir("/r", (0, 0)),
        ImageSettings('{"User": "$NB_USER"}'),
    )


def settings(project: Path, text: str) -> dict[str, object]:
    (step,) = (s for s in steps(project, text) if isinstance(s, ImageSettings))
    found: dict[str, object] = json.loads(step.settings)
    return found


def test_what_is_said_of_the_configuration(project: Path) -> None:
    text = """SHELL ["/bin/bash", "-c"]
LABEL a=1 "b c"='d $e' f=$LOW
LABEL old form
MAINTAINER somebody
EXPOSE 80 8000-8001/udp
VOLUME /data /more
VOLUME ["/list"]
STOPSIGNAL SIGINT
HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD curl -f http://localhost/ || exit 1
ONBUILD RUN later
CMD serve --fast
ENTRYPOINT ["/init"]"""
    assert settings(project, text) == {
        "Labels": {"a": "1", "b c": "d \\$e", "f": "$LOW", "old": "form"},
        "ExposedPorts": {"80/tcp": {}, "8000/udp": {}, "8001/udp": {}},
        "Volumes": {"/data": {}, "/more": {}, "/list": {}},
        "StopSignal": "SIGINT",
        "Healthcheck": {
            "Test": ["CMD-SHELL", "curl -f http://localhost/ || exit 1"],
            "Interval": 90_000_000_000,
            "Timeout": 500_000_000,
            "Retries": 3,
        },
        "OnBuild": ["RUN later"],
        "Cmd": ["/bin/bash", "-c", "serve --fast"],
        "Entrypoint": ["/init"],
    }


def test_what_a_stage_has_those_begin_with_that_stand_on_it(project: Path) -> None:
    """Once: neither the image has it, nor what stands on that in turn."""
    text = """FROM x:1 AS low
RUN low
ONBUILD COPY one.txt /a/
ONBUILD RUN <<E
begin
E
FROM low AS second
RUN second
ONBUILD ENV A=b
FROM second AS third
FROM third
RUN last
"""
    recipe = read(project, text)
    assert recipe.steps == (
        run("low"), copied("one.txt", "/a/"), run("begin\n", "second"), EnvVars((("A", "b"),)), run("last"),
    )  # fmt: skip
    assert recipe.triggers == (("x:1", ()),)
    with pytest.raises(RefusedError, match="Dockerfile:2: `ONBUILD FROM y`: expected an instruction other than FROM"):
        read(project, "FROM x:1\nONBUILD FROM y\n")


def test_an_entry_point_does_away_with_the_base_s_command(project: Path) -> None:
    assert settings(project, 'ENTRYPOINT ["/init"]') == {"Entrypoint": ["/init"], "Cmd": []}
    assert settings(project, "HEALTHCHECK NONE") == {"Healthcheck": {"Test": ["NONE"]}}
