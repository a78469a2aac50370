"""An import is served by a registry base as well: by what is in it, as far as that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.locks.base import BaseFacts
from flyte_build.locks.nouns import Lock, LockedPlatform, LockedWheel
from flyte_build.planning.checks.rules.judging import Image
from flyte_build.project.source_files import Sources
from flyte_build.project.statements import Import
from flyte_build.recipe import Recipe, RegistryBase
from tests.deriving.test_overlay import FACTS, locked_base
from tests.support.recipes import AMD64


def nothing(wheels: Sequence[LockedWheel]) -> Mapping[str, frozenset[str]]:
    return {}


def image(tmp_path: Path, facts: BaseFacts | None, *, official: bool = False) -> Image:
    recipe = Recipe(RegistryBase("registry.example/team/base:1", official), (AMD64,), None, None)
    platform = LockedPlatform("", "", (), (), locked_base(facts))
    lock = Lock("env", recipe.to_json(), "uv", "1", None, {AMD64: platform})
    return Image(lock, AMD64, nothing, Sources(tmp_path))


def kinds(image: Image, module: str) -> list[str]:
    problems, _ = image.judge(Import(module, (), 1))
    return [p.kind for p in problems]


def test_a_module_of_the_base_is_there_and_another_is_not(tmp_path: Path) -> None:
    found = image(tmp_path, replace(FACTS, modules=("numpy",)))
    assert kinds(found, "numpy.linalg") == []
    assert kinds(found, "pandas") == ["absent"]


def test_of_a_base_that_nobody_read_nothing_is_said(tmp_path: Path) -> None:
    assert kinds(image(tmp_path, None), "pandas") == []


def test_the_environment_on_an_official_image_does_not_see_what_lies_beside_it(tmp_path: Path) -> None:
    found = image(tmp_path, replace(FACTS, modules=("pip",)), official=True)
    assert kinds(found, "pip") == ["absent"]


@pytest.mark.parametrize(
    ("python", "expected"), [("/usr/local/bin/python3.12", []), ("/usr/bin/python3.12", ["debian"])]
)
def test_only_debians_own_python_lacks_what_debian_ships_apart(
    tmp_path: Path, python: str, expected: list[str]
) -> None:
    found = image(tmp_path, replace(FACTS, python=python, debs=()))
    assert kinds(found, "tkinter") == expected
    there = image(tmp_path, replace(FACTS, python=python, debs=("python3-tk 3.11 amd64",)))
    assert kinds(there, "tkinter") == []
