"""A Dockerfile with a line that no step means is one step for another builder, on bases that are locked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import flyte
import pytest

from flyte_build.kernel.errors import RefusedError
from flyte_build.project.images import read_image
from flyte_build.recipe import Delegation, RegistryBase, RunCommands, Scratch, SecretMount, Stage

from .test_dockerfile import copied, project, read

__all__ = ["project"]

TEXT = """ARG TAG=3
FROM one:$TAG AS low
RUN --mount=type=bind,from=four,target=/x --mount=type=secret,id=token y
FROM scratch AS out
COPY --from=low /x /
FROM low
COPY --from=three:1 --from=$NOBODY /x /
RUN --network=host make
"""


def test_what_is_asked_of_another_builder(project: Path) -> None:
    recipe = read(project, TEXT)
    assert recipe.base == RegistryBase("one:3")
    whole = Delegation("image/Dockerfile", "sha256:" + hashlib.sha256(TEXT.encode()).hexdigest(), (0, 1, 2), 3)
    assert recipe.steps == (RunCommands((), (SecretMount("token"),), delegation=whole),)
    assert recipe.stages == (
        Stage("one:3", RegistryBase("one:3")),
        Stage("four", RegistryBase("four")),
        Stage("three:1", RegistryBase("three:1")),
        Stage("the Dockerfile's folder", Scratch(), (copied("", "/", True),)),
    )
    (step,) = recipe.steps
    assert isinstance(step, RunCommands)
    assert step.delegation is not None
    assert "Dockerfile:7: `COPY --from=three:1" in step.delegation.why
    assert step.words == ("build image/Dockerfile",)
    assert step.stages == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("RUN --network=host x", "`--network=host` asks for what a sealed step has not"),
        ("RUN --security=insecure x", "`--security=insecure` asks for what a sealed step has not"),
        ("RUN --mount=type=ssh x", "asks for what a sealed step has not: a mount of type `ssh`"),
        ("RUN --mount=type=cache,target=/c,from=y x", "`from` of a mount of type cache"),
        ("RUN --mount=type=tmpfs,target=/c,mode=9 x", "`mode` of a mount of type tmpfs"),
        ("COPY --parents one.txt /", "`--parents`: is not known here"),
        ("ADD https://h.example/x.git /x", "no step fetches repositories"),
        ("ADD https://h.example/x.git#v1:sub /x", "no step fetches repositories"),
        ("ADD git@h.example:x /x", "no step fetches repositories"),
        ("ADD ftp://h.example/x /x", "or what is at such addresses"),
        ("ADD --checksum=sha512:0 https://h.example/x /x", "expected sha256 and 64 hex digits"),
        ("ADD --unpack=true https://h.example/x.tar /x", "`--unpack`: is not known here"),
        ("COPY $NOBODY /x", "nothing in the file sets $NOBODY"),
        ("COPY --from=$NOBODY /x /y", "nothing in the file sets $NOBODY"),
        ("COPY <<A /x\n$NOBODY\nA", "nothing in the file sets $NOBODY: quote the here-document's name"),
    ],
)
def test_lines_for_another_builder(project: Path, line: str, why: str) -> None:
    (step,) = read(project, f"FROM x\n{line}").steps
    assert isinstance(step, RunCommands)
    assert step.delegation is not None
    assert f"environment e: Dockerfile:2: `{line.splitlines()[0]}`: " in step.delegation.why
    assert why in step.delegation.why
    assert not step.delegation.other


def test_an_archive_that_is_not_read_here(project: Path) -> None:
    (project / "image/x.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd more")
    (step,) = read(project, "FROM x\nADD x.tar.zst /srv/").steps
    assert isinstance(step, RunCommands)
    assert step.delegation is not None
    assert "x.tar.zst is packed by zstd" in step.delegation.why


def test_what_is_left_to_the_sdk_is_refused_here(project: Path) -> None:
    (project / "image/Dockerfile").write_text("FROM x\nRUN --network=host y")
    image = flyte.Image.from_dockerfile(project / "image/Dockerfile", registry="r", name="n")
    with pytest.raises(RefusedError, match="Dockerfile:2: `RUN --network=host y`") as e:
        read_image(image, "environment e", project, elsewhere=False)
    assert "from_base" in str(e.value.hint)


def test_another_language(project: Path) -> None:
    (step,) = read(project, "# syntax=r.example/other:1\nFROM x\nDO it").steps
    assert isinstance(step, RunCommands)
    assert step.delegation is not None
    assert step.delegation.other


@pytest.mark.parametrize("text", ["FROM scratch\nRUN --network=host x", "FROM $X\nRUN x", "# syntax=o/o\nmake: it"])
def test_without_a_base_there_is_nothing_to_stand_on(project: Path, text: str) -> None:
    with pytest.raises(RefusedError, match="environment e: Dockerfile:"):
        read(project, text)


@pytest.mark.parametrize("line", ["MAKE it", "COPY ../x /x", "USER a b", "ENV X", "COPY one.txt two.txt /x"])
def test_what_no_builder_takes_is_refused(project: Path, line: str) -> None:
    with pytest.raises(RefusedError, match="environment e: Dockerfile:2:"):
        read(project, f"FROM x\n{line}")
