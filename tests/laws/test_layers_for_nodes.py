"""No image of ours has an empty layer, or one twice: nodes that stream images take neither.

A registry base's own layers are as its maker left them; every node pulls them so. What Nix and Bazel group is held
against the same derivations in ``tests/nix`` and ``tests/equality``.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.deriving import FileEntry, ImageDerivation, LayerDerivation, derive, recorded_recipe
from flyte_build.deriving.derivation import LARGE_WHEEL
from flyte_build.deriving.sealed import question
from flyte_build.locks import Lock, LockedSeal
from flyte_build.locks.lockfile import read
from flyte_build.locks.seals import EMPTY
from flyte_build.recipe import CopyFiles, EnvVars, PipInstall, Recipe, RunCommands, Step, WorkDir

from ..support.recipes import deb, lock_of, recipe_of, wheel

REPOSITORY = Path(__file__).parents[2]
LOCKS = sorted(p for p in (*REPOSITORY.glob("lockfiles/*.json"), *REPOSITORY.glob("examples/*/lockfiles/*.json")))


def content(layer: LayerDerivation) -> object:
    """What is in the layer: entries, packages, wheels; of a sealed one, how it is known."""
    spec = layer.spec
    return next(spec[key] for key in ("wheels", "debs", "files", "entries", "diff_id", "of", "archives") if key in spec)


def check(image: ImageDerivation) -> None:
    ours = [layer for layer in image.layers if layer.kind != "base"]
    assert EMPTY not in [layer.spec.get("diff_id") for layer in ours]
    assert ours or image.spec.get("verbatim")
    assert all(map(content, ours)), [layer.title for layer in ours if not content(layer)]
    # Where what a step changed, or wheels, lie between two copies of the same, the second is no repetition.
    parts: list[list[str]] = [[]]
    for layer in ours:
        parts += [[]] if layer.kind in ("sealed", "wheels") else []
        parts[-1].append(layer.hash)
    assert len({x.hash for x in ours if x.kind != "files"}) == len([x for x in ours if x.kind != "files"])
    twice = [hash for part in parts for hash, count in Counter(part).items() if count > 1]
    assert not twice, [layer.title for layer in ours if layer.hash in twice]


def files_of(recipe: Recipe) -> dict[int, list[FileEntry]]:
    """For each copy a file or two; of the same source the same."""
    found = {}
    for index, step in enumerate(recipe.steps):
        if isinstance(step, CopyFiles):
            named = f"{step.destination.strip('/')}/{step.source}"
            found[index] = [FileEntry(named, 0o644, step.source[0] * 64, 3)]
    return found


def test_there_are_examples() -> None:
    assert len(LOCKS) > 40


@pytest.mark.parametrize("path", LOCKS, ids=lambda p: f"{p.parts[-3]}/{p.stem}")
def test_of_every_example(path: Path) -> None:
    lock = read(path.parent, path.stem)
    assert lock is not None
    recipe = recorded_recipe(lock)
    for platform in lock.platforms:
        check(derive(lock, recipe, platform, files_of(recipe)))


def steps_of(chance: random.Random) -> list[Step | str]:
    """Wheels, copies, variables and folders, in any order; of the same copy more than one."""
    kinds: list[Step | str] = [
        "one", "two", EnvVars((("A", "1"),)), WorkDir("/srv"), WorkDir("/srv/deeper"), WorkDir("/"),
        CopyFiles("a", "/srv", False), CopyFiles("b", "/srv", False), CopyFiles("a", "/other", False),
        RunCommands(("true",)), RunCommands(("make",)),
    ]  # fmt: skip
    return [chance.choice(kinds) for _ in range(chance.randint(0, 9))]


def sealed(lock: Lock, recipe: Recipe, files: Mapping[int, Sequence[FileEntry]], chance: random.Random) -> Lock:
    """The lock with all steps sealed, of which some changed nothing; the same on the same changes the same."""
    platform = recipe.platforms[0]
    for index in recipe.sealed_steps:
        part = lock.platforms[platform]
        below = [layer.hash for layer in derive(lock, recipe, platform, files, below=index).layers]
        on = question(lock.environment, recipe, part, platform, index, below).on
        known = {seal.on: seal.diff_id for seal in part.seals}
        diff_id = known.get(on) or chance.choice([EMPTY, on])
        seal = LockedSeal(index, on, "none", diff_id, 7, diff_id, True)
        lock = replace(lock, platforms={platform: replace(part, seals=(*part.seals, seal))})
    return lock


@pytest.mark.parametrize("seed", range(100))
def test_of_generated_plans(seed: int) -> None:
    chance = random.Random(seed)
    recipe = recipe_of(*steps_of(chance), flyte=chance.choice([None, "2.12.1"]))
    recipe = replace(recipe, layer_ceiling=chance.choice([None, None, LARGE_WHEEL, 64 * LARGE_WHEEL]))
    recipe = replace(recipe, bytecode=recipe.layer_ceiling is None and seed % 2 == 1)
    pips = sum(isinstance(step, PipInstall) for step in recipe.steps)
    wheels = [
        wheel(f"w{number}", step=chance.randint(0, pips), size=chance.choice([1000, LARGE_WHEEL, LARGE_WHEEL + 1]))
        for number in range(chance.randint(0, 130 if recipe.layer_ceiling is None else 30))
    ]
    debs = [deb("base-files"), *(deb(f"d{n}", base=chance.random() < 0.5) for n in range(chance.randint(0, 3)))]
    lock = sealed(lock_of(recipe, wheels, debs), recipe, files_of(recipe), chance)
    check(derive(lock, recipe, recipe.platforms[0], files_of(recipe)))
