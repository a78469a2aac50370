"""``docs/locks.md`` names every key that a lock may have: those that reading knows, and those that writing makes."""

from __future__ import annotations

import dataclasses
import re

import pytest

from flyte_build.locks import base, builds, lockfile, pythons, seals, stages
from flyte_build.locks.nouns import LockedDeb, LockedWheel, Pin
from flyte_build.recipe import conda
from flyte_build.recipe import nouns as recipe
from tests.laws.house import DOCS

PAGE = (DOCS / "locks.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([a-z_0-9]+)`", PAGE))


def fields(kind: type) -> set[str]:
    return {f.name for f in dataclasses.fields(kind)}


@pytest.mark.parametrize(
    "keys",
    [
        lockfile._TOP,
        lockfile._OWN,
        fields(LockedWheel),
        fields(LockedDeb),
        fields(Pin),
        fields(seals.LockedSeal),
        fields(stages.LockedStage),
        fields(builds.LockedBuild),
        fields(builds.LockedSource),
        fields(pythons.LockedPython),
        fields(conda.CondaPackage) - {"machine"},
        fields(conda.CondaInstall) - {"packages"},
        fields(base.LockedBase),
        fields(base.LockedLayer),
        fields(base.BaseFacts),
        fields(recipe.Recipe) - {"environment"},
    ],
    ids=[
        "document",
        "platform",
        "wheel",
        "deb",
        "pin",
        "seal",
        "stage",
        "build",
        "source",
        "python",
        "conda",
        "environment",
        "base",
        "layer",
        "facts",
        "recipe",
    ],
)
def test_every_key_is_named(keys: set[str]) -> None:
    assert keys - NAMED == set()


def test_every_kind_of_step_is_named() -> None:
    files = [DOCS.parent / "flyte_build/recipe" / f"{name}.py" for name in ("bases", "conda", "nouns", "running")]
    kinds = {kind for file in files for kind in re.findall(r'"kind": "([a-z]+)"', file.read_text())}
    assert kinds - NAMED == set()
    assert {"pip", "apt", "commands"} <= kinds
