"""What is said of an image whose flyte is another than expected, or none."""

from __future__ import annotations

from dataclasses import replace

from flyte_build.locks.base import LockedBase, LockedBlob
from flyte_build.locks.lockfile import Lock, LockedPlatform
from flyte_build.locks.runtimes import runtime_notes
from flyte_build.recipe import PipInstall, UvProject

from ..support.recipes import lock_of, recipe_of, wheel

PROJECT = PipInstall((), uv=UvProject("pyproject.toml", "sha256:a"))


def notes(lock: Lock) -> list[str]:
    return runtime_notes({"e": lock})


def test_an_image_without_flyte() -> None:
    bare = lock_of(recipe_of("a", flyte=None), [wheel("a")])
    assert notes(bare) == [
        "e: the image holds no flyte package, which every task needs to start; add one to its packages"
    ]
    assert notes(lock_of(recipe_of("a", flyte=None), [wheel("a"), wheel("flyte")])) == []
    assert notes(lock_of(recipe_of(flyte=None))) == []


def test_a_projects_flyte_that_is_not_the_machines() -> None:
    recipe = recipe_of(PROJECT, flyte="2.0")
    assert notes(lock_of(recipe, [wheel("flyte", "2.0")])) == []
    assert notes(lock_of(recipe, [wheel("flyte", "1.9")])) == [
        "e: the image has flyte 1.9, as its uv project says, and not 2.0, which locked it"
    ]


def test_a_base_that_nobody_looked_into_is_not_judged() -> None:
    blob = LockedBlob("application/vnd.oci.image.manifest.v1+json", "sha256:" + "a" * 64, 10)
    base = LockedBase(f"registry.example/x:1@{blob.digest}", None, blob, blob, (), {})
    lock = lock_of(recipe_of("a", flyte=None), [wheel("a")])
    on = {n: LockedPlatform("", "", (), p.wheels, base) for n, p in lock.platforms.items()}
    assert notes(replace(lock, platforms=on)) == []
