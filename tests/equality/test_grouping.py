"""Bazel's rules group artifacts into layers as the derivation does: committed locks, and any lock at all.

The rules run in a Starlark interpreter. What is the same for Nix is in ``tests/nix/test_grouping.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings

from flyte_build.assemble.layer_directory import derivation
from flyte_build.deriving.derivation import LARGE_WHEEL, MAX_LAYERS
from flyte_build.deriving.from_lock import recorded_recipe
from flyte_build.locks.lockfile import read
from flyte_build.locks.nouns import Lock
from flyte_build.locks.seals import EMPTY
from flyte_build.recipe import CopyFiles
from tests.nix.test_grouping import derived, locks, with_a_seal, with_conda
from tests.support.recipes import AMD64, lock_of, recipe_of, wheel

from .bazel_rules import copies, image_layers

ROOT = Path(__file__).parents[2]


def grouped(lock: Lock) -> dict[str, list[tuple[str, list[str]]]]:
    """By platform, the layers as Bazel's rules have them: derivation, and SHA-256 of the artifacts."""
    raw = json.loads(lock.text())
    return {p: [(derivation(spec), used) for spec, used in image_layers(raw, p)] for p in lock.platforms}


def test_committed_locks() -> None:
    paths = sorted(ROOT.glob("**/lockfiles/*.json"))
    every = [lock for p in paths if (lock := read(p.parent, p.stem)) is not None]
    every = [lock for lock in every if all(x.base is None for x in lock.platforms.values())]
    assert len(every) > 40
    for lock in every:
        assert grouped(lock) == derived(lock), lock.environment


@settings(max_examples=60, deadline=None)
@given(locks())
def test_any_lock(lock: Lock) -> None:
    assert grouped(lock) == derived(lock)
    steps = recorded_recipe(lock).steps
    assert copies(lock.to_json()) == [i for i, step in enumerate(steps) if isinstance(step, CopyFiles)]


def test_a_sealed_layer_is_taken_by_its_digest() -> None:
    lock = with_a_seal()
    assert sorted(grouped(lock)[AMD64]) == sorted(derived(lock)[AMD64])
    assert grouped(lock)[AMD64][-1][1] == ["c" * 64]


def test_a_step_that_changed_nothing_has_no_layer() -> None:
    lock = with_a_seal(EMPTY)
    assert sorted(grouped(lock)[AMD64]) == sorted(derived(lock)[AMD64])
    assert not [used for _, used in grouped(lock)[AMD64] if used == ["c" * 64]]


def test_conda_packages_and_what_is_installed_among_them() -> None:
    for lock in (with_conda(), with_conda(3)):
        assert grouped(lock) == derived(lock)


def test_where_layers_are_short() -> None:
    """More large wheels than layers: those that stay alone are the largest, and of equal size the first by name."""
    every = [wheel(f"w{i:03}", size=LARGE_WHEEL + i // 3, step=1 + i % 4) for i in range(130)]
    lock = lock_of(recipe_of("a", CopyFiles("x", "/srv/", True)), every)
    assert grouped(lock) == derived(lock)
    # The copied files are one more; room for a layer of packages asked for is kept, and there are none.
    assert len(grouped(lock)[AMD64]) == MAX_LAYERS - 2
