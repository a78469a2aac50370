"""Where layers of bytecode lie, what they are of, and that nothing changes for who asks for none."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from flyte_build.deriving.bytecode import interpreter_layers, interpreter_of, source_of
from flyte_build.deriving.derivation import FileEntry, derive
from flyte_build.deriving.from_lock import recorded_recipe
from flyte_build.deriving.nouns import ImageDerivation
from flyte_build.deriving.wheel_layers import LARGE_WHEEL, MAX_LAYERS
from flyte_build.recipe import CopyFiles, Recipe, Step
from flyte_build.recipe.differences import differences
from tests.support.recipes import AMD64, deb, lock_of, python_of, recipe_of, wheel

DEBS = [deb("base-files"), deb("python3.11", "3.11.2-6+deb12u9"), deb("curl", base=False)]
WHEELS = [wheel("flyte", "2.12.1", step=0), wheel("a"), wheel("big", size=LARGE_WHEEL)]


def layered(*steps: Step | str, python: str = "3.11") -> Recipe:
    return replace(recipe_of(*steps, python=python), bytecode=True)


def made_of(recipe: Recipe, files: dict[int, list[FileEntry]] | None = None) -> ImageDerivation:
    return derive(lock_of(recipe, WHEELS, DEBS), recipe, AMD64, files or {})


def titles(image: ImageDerivation) -> list[str]:
    return [layer.title for layer in image.layers]


def test_beside_each_layer_of_modules_lies_one() -> None:
    image = made_of(layered("a"))
    assert titles(image) == [
        "debian bookworm", "bytecode of debian bookworm", "apt ", "system files, user and venv",
        "flyte runtime 2.12.1", "bytecode of flyte runtime 2.12.1", "big 1.0", "bytecode of big 1.0",
        "a 1.0", "bytecode of a 1.0",
    ]  # fmt: skip
    for below, layer in pairwise(image.layers):
        if layer.kind == "bytecode":
            assert source_of(layer.spec).hash == below.hash
            assert layer.spec["by"] == "3.11.2-6+deb12u9"
            assert layer.artifacts == ()
    assert image.layers[1].spec["folders"] == ["/usr/lib/python3.11"]
    assert image.layers[-1].spec["folders"] == ["/opt/venv/lib/python3.11/site-packages"]


def test_a_relocatable_python_brings_its_own_library() -> None:
    image = made_of(layered("a", python="3.12"))
    assert titles(image)[2:5] == [
        "python 3.12.4 (relocatable)", "bytecode of python 3.12.4 (relocatable)", "system files, user and venv",
    ]  # fmt: skip
    assert image.layers[3].spec["folders"] == ["/usr/local/lib/python3.12"]
    assert image.layers[3].spec["by"] == "3.12.4+20260102"
    kinds = [layer.kind for layer in interpreter_layers(image.layers)]
    assert kinds == ["debian", "debian", "python", "system"]


def test_other_layers_are_what_they_are_without() -> None:
    """The setting adds layers: those of the wheels stay shared with images that do not have it."""
    plain = made_of(recipe_of("a"))
    image = made_of(layered("a"))
    assert [x.hash for x in image.layers if x.kind != "bytecode"] == [x.hash for x in plain.layers]
    assert "bytecode" not in recipe_of("a").to_json()  # type: ignore[operator]


def test_another_interpreter_makes_another_layer() -> None:
    debs = [deb("base-files"), deb("python3.11", "3.11.2-6+deb12u10")]
    recipe = layered("a")
    other = derive(lock_of(recipe, WHEELS, debs), recipe, AMD64)
    here = {layer.hash for layer in made_of(recipe).layers if layer.kind == "bytecode"}
    assert not here & {layer.hash for layer in other.layers}


def test_the_lock_knows_that_it_is_asked_for() -> None:
    recipe, plain = layered("a"), recipe_of("a")
    lock = lock_of(recipe, WHEELS, DEBS)
    assert recorded_recipe(lock) == recipe
    assert not lock.answers(plain)
    assert differences(plain.to_json(), recipe.to_json()) == ["bytecode: none → layer"]


def test_a_copy_over_a_module_takes_its_bytecode_away() -> None:
    site = "opt/venv/lib/python3.11/site-packages"
    names = (f"{site}/pkg/x.py", f"{site}/pkg/data.txt", "usr/lib/python3.11/os.py", "srv/main.py")
    recipe = layered("a", CopyFiles("src", "/", True))
    image = made_of(recipe, {1: [FileEntry(name, 0o644, "0" * 64, 3) for name in names]})
    assert image.layers[-1].kind == "overlay"
    assert image.layers[-1].spec["entries"] == [
        {"path": f"{site}/pkg/__pycache__/x.cpython-311.pyc", "removed": True},
        {"path": "usr/lib/python3.11/__pycache__/os.cpython-311.pyc", "removed": True},
    ]
    assert made_of(recipe, {1: [FileEntry("srv/main.py", 0o644, "0" * 64, 3)]}).layers[-1].kind == "files"


@pytest.mark.parametrize("seed", range(30))
def test_never_more_layers_than_engines_take(seed: int) -> None:
    chance = random.Random(seed)
    recipe = layered(*("abcdefgh"[: chance.randint(1, 8)]))
    sizes = [1000, LARGE_WHEEL, LARGE_WHEEL + 1]
    wheels = [wheel(f"w{n}", step=chance.randint(0, len(recipe.steps)), size=chance.choice(sizes)) for n in range(150)]
    image = derive(lock_of(recipe, wheels, DEBS), recipe, AMD64)
    assert len(image.layers) <= MAX_LAYERS
    assert len({layer.hash for layer in image.layers}) == len(image.layers)


def test_whose_interpreter_it_is() -> None:
    part = lock_of(recipe_of("a"), [], DEBS).platforms[AMD64]
    assert interpreter_of(part, "3.11") == "3.11.2-6+deb12u9"
    assert interpreter_of(replace(part, python=python_of("3.12.4")), "3.12") == "3.12.4+20260102"
    assert interpreter_of(replace(part, python=replace(python_of("3.12.4"), file="own.tar.gz")), "3.12") == "3.12.4"
