"""Law 9: what cannot be made hermetic is refused by name, with a way out; it is never left out of the image."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import flyte
import pytest

from flyte_build.kernel.errors import RefusedError
from flyte_build.project import images
from tests.project.test_images import BASE, read


def make_dockerfile(folder: Path) -> flyte.Image:
    (folder / "Dockerfile").write_text("FROM x\nUSER a b")
    return flyte.Image.from_dockerfile(folder / "Dockerfile", registry="r", name="n")


@pytest.mark.parametrize(
    ("make", "said", "way_out"),
    [
        (make_dockerfile, "Dockerfile:2: `USER a b`", "from_base"),
        (lambda _: flyte.Image.from_ref_name("mine"), "from_ref_name('mine')", "from_debian_base"),
        (lambda _: BASE.with_pip_packages("x").clone(python_version=(3, 9)), "cloned with", "python_version=(3, 13)"),
        (lambda _: BASE.with_pip_packages("x @ hg+http://h.example/x"), "installs from a location", "publish it"),
        (lambda _: BASE.with_pip_packages("x", extra_args="--no-deps"), "`--no-deps`", "index_url"),
    ],
)
def test_a_refusal_names_what_and_the_way_out(
    make: Callable[[Path], flyte.Image | str], said: str, way_out: str, tmp_path: Path
) -> None:
    with pytest.raises(RefusedError, match=re.escape(said)) as e:
        read(make(tmp_path), tmp_path)
    assert e.value.exit_code == 7
    assert e.value.hint is not None
    assert way_out in e.value.hint


def test_an_unknown_layer_class_is_named() -> None:
    layer_class = type(BASE.with_workdir("/x")._layers[0]).__mro__[1]
    novel = dataclasses.make_dataclass("Teleport", [("to", str)], bases=(layer_class,), frozen=True, kw_only=True)
    with pytest.raises(RefusedError, match="layer Teleport"):
        read(BASE.clone(name="x", addl_layer=novel(to="moon")))


def test_an_unknown_field_of_a_known_layer_is_named() -> None:
    """An SDK that learns a new option must not have it dropped from our images."""
    known = type(BASE.with_pip_packages("a")._layers[0])
    newer = dataclasses.make_dataclass("PipPackages", [("cuda", str, "12")], bases=(known,), frozen=True, kw_only=True)
    with pytest.raises(RefusedError, match="PipPackages has a field `cuda`"):
        read(BASE.clone(name="x", addl_layer=newer(packages=("a",))))


def test_every_layer_class_of_the_sdk_is_read_or_has_a_way_out() -> None:
    """Contract with the installed SDK: a new layer class fails here before it fails a user."""
    import flyte._image as module

    def leaves(cls: type) -> set[str]:
        return {cls.__name__}.union(*(leaves(c) for c in cls.__subclasses__() if c.__module__ == module.__name__))

    ours = set(images._READERS) | set(images.PIXI) | set(images._WAYS_OUT) | {"DockerIgnore"}
    assert leaves(module.Layer) - {"Layer", "PipOption"} == ours
