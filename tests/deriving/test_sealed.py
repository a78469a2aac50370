"""A sealed step in a derivation: what lies below and above it, what makes it stale, and its layer by digest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flyte_build.deriving import FileEntry, ImageDerivation, derive, recorded_recipe
from flyte_build.deriving.sealed import question, title_of
from flyte_build.kernel.errors import LockError
from flyte_build.locks import Lock, LockedSeal
from flyte_build.locks.seals import EMPTY
from flyte_build.recipe import AptInstall, CopyFiles, EnvVars, PipInstall, Recipe, RunCommands, SecretMount, WorkDir

from ..support.recipes import AMD64, lock_of, recipe_of, wheel

D = "sha256:" + "d" * 64
RUN = RunCommands(("make install",))
COPIED = {4: [FileEntry("srv/x", 0o644, "e" * 64, 3)], 6: [FileEntry("srv/y", 0o644, "f" * 64, 3)]}
STEPS = (
    PipInstall(("low",)), EnvVars((("A", "1"),)), AptInstall(("git",)), WorkDir("/work"),
    CopyFiles("x", "/srv/x", False), RUN, CopyFiles("y", "/srv/y", False), PipInstall(("high",)),
    EnvVars((("B", "2"),)),
)  # fmt: skip
WHEELS = [wheel("flyte", step=0), wheel("low", step=1), wheel("high", step=2)]


def sealed(lock: Lock, on: str, step: int = 5, **more: object) -> Lock:
    seal = replace(LockedSeal(step, on, "none", D, 7, D, True), **more)  # type: ignore[arg-type]
    return replace(lock, platforms={p: replace(x, seals=(seal,)) for p, x in lock.platforms.items()})


def asked(lock: Lock, recipe: Recipe) -> str:
    below = derive(lock, recipe, AMD64, COPIED, below=5)
    return question("env", recipe, lock.platforms[AMD64], AMD64, 5, [x.hash for x in below.layers]).on


def made(recipe: Recipe, *, lock: Lock | None = None) -> ImageDerivation:
    lock = lock or lock_of(recipe, WHEELS)
    return derive(sealed(lock, asked(lock, recipe)), recipe, AMD64, COPIED)


def test_a_step_lies_on_what_is_before_it_and_under_what_comes_after() -> None:
    titles = [layer.title for layer in made(recipe_of(*STEPS)).layers]
    assert titles[:2] == ["debian bookworm", "system files, user and venv"]
    assert titles[2:] == [
        "flyte runtime 1.0", "low 1.0", "workdir /work", "copy x", "run make install", "high 1.0", "copy y",
    ]  # fmt: skip


def test_its_layer_is_an_artifact_by_digest() -> None:
    (layer,) = [x for x in made(recipe_of(*STEPS)).layers if x.kind == "sealed"]
    assert (layer.spec["digest"], layer.spec["diff_id"], layer.spec["size"]) == (D, D, 7)
    assert [(a.sha256, a.size, a.file) for a in layer.artifacts] == [("d" * 64, 7, "sealed-dddddddddddddddd.tar.gz")]


def test_a_step_that_changed_nothing_has_no_layer() -> None:
    """Nor is anything that comes after it another for it; but it has to be sealed, and be no stale one."""
    recipe = recipe_of(*STEPS)
    lock = lock_of(recipe, WHEELS)
    empty = sealed(lock, asked(lock, recipe), diff_id=EMPTY)
    found = made(recipe, lock=lock).layers
    assert derive(empty, recipe, AMD64, COPIED).layers == tuple(x for x in found if x.kind != "sealed")
    assert empty.platforms[AMD64].sealed_places(recipe) == ()
    with pytest.raises(LockError, match="is stale"):
        derive(sealed(lock, D, diff_id=EMPTY), recipe, AMD64, COPIED)


def test_what_it_runs_on_is_the_image_there() -> None:
    recipe = recipe_of(*STEPS)
    lock = lock_of(recipe, WHEELS)
    found = question("env", recipe, lock.platforms[AMD64], AMD64, 5, [])
    assert found.workdir == "/work"
    assert found.environment["A"] == "1"
    assert "B" not in found.environment
    assert found.environment["PATH"].startswith("/opt/venv/bin:")


def test_without_a_seal_and_with_a_stale_one_there_is_no_derivation() -> None:
    recipe = recipe_of(*STEPS)
    lock = lock_of(recipe, WHEELS)
    with pytest.raises(LockError, match="`run make install` is not sealed for linux/amd64"):
        derive(lock, recipe, AMD64, COPIED)
    with pytest.raises(LockError, match="is stale: what it ran on is not what is below it now"):
        derive(sealed(lock, D), recipe, AMD64, COPIED)


def test_what_is_below_it_makes_it_stale_and_what_is_above_does_not() -> None:
    recipe = recipe_of(*STEPS)
    lock = lock_of(recipe, WHEELS)
    on = asked(lock, recipe)
    above = recipe_of(*STEPS[:7], PipInstall(("other",)), EnvVars((("B", "3"),)))
    assert asked(lock_of(above, [*WHEELS[:2], wheel("other", step=2)]), above) == on
    for place, step in ((0, PipInstall(("new",))), (1, EnvVars((("A", "2"),))), (5, RunCommands(("make",)))):
        changed = recipe_of(*STEPS[:place], step, *STEPS[place + 1 :])
        wheels = [WHEELS[0], wheel("low", "2.0" if place == 0 else "1.0", step=1), WHEELS[2]]
        assert asked(lock_of(changed, wheels), changed) != on, step


def test_a_lock_by_itself_says_it_all() -> None:
    secrets = (SecretMount("k", "g", env="K"), SecretMount("m", path="/etc/flyte/secrets"))
    recipe = recipe_of(*STEPS[:5], RunCommands(("a", "b"), secrets))
    assert recorded_recipe(lock_of(recipe, WHEELS)) == recipe


def test_titles_are_short() -> None:
    assert title_of(RunCommands(("a  b\n c",))) == "run a b c"
    assert title_of(RunCommands(("x" * 100, "y"))) == f"run {'x' * 59}… (and 1 more)"
