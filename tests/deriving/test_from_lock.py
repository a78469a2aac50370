"""A recipe read back from its lock is the recipe that the lock answers, or an error; never a part of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.deriving.derivation import derive
from flyte_build.deriving.from_lock import recorded_recipe
from flyte_build.kernel.errors import LockError
from flyte_build.locks.lockfile import parse, read
from flyte_build.recipe import AptInstall, CopyFiles, EnvVars, PipInstall, RegistryBase, Step, WorkDir
from tests.support.recipes import AMD64, lock_of, recipe_of, wheel

ROOT = Path(__file__).parents[2]
words = st.text("abcxyz-./ü", min_size=1, max_size=6)
tuples = st.lists(words, max_size=3).map(tuple)
urls = st.sampled_from(["http://index.example/simple", "https://mirror.example/"])
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        PipInstall,
        tuples,
        st.none() | urls,
        st.lists(urls, max_size=2).map(tuple),
        st.booleans(),
        tuples,
        tuples,
        st.lists(st.tuples(words, tuples), max_size=2).map(tuple),
    ),
    st.builds(AptInstall, tuples),
    st.builds(EnvVars, st.lists(st.tuples(words, words), max_size=3).map(tuple)),
    st.builds(WorkDir, words),
    st.builds(CopyFiles, words, words, st.booleans(), tuples),
)


@given(st.lists(steps, max_size=5), st.none() | st.just("2.12.1"))
def test_any_recipe_comes_back_from_the_file(made: list[Step], flyte: str | None) -> None:
    recipe = recipe_of(*made, flyte=flyte)
    lock = parse(lock_of(recipe).text(), Path("env.json"))
    again = recorded_recipe(lock)
    assert again.to_json() == recipe.to_json()
    assert lock.answers(again)


def test_a_registry_base_comes_back() -> None:
    for base in (RegistryBase("registry.example/a:1"), RegistryBase("registry.example/a:1", official=True)):
        recipe = dataclasses.replace(recipe_of("a"), base=base)
        assert recorded_recipe(lock_of(recipe)) == recipe


def test_the_derivation_is_that_of_the_recipe_itself() -> None:
    recipe = recipe_of(PipInstall(("a",), index="http://index.example/simple"), EnvVars((("P", "$PATH:/x"),)))
    lock = lock_of(recipe, [wheel("flyte", "2.12.1", step=0), wheel("a")])
    assert derive(lock, recorded_recipe(lock), AMD64).hash == derive(lock, recipe, AMD64).hash


@pytest.mark.parametrize("path", sorted(ROOT.glob("**/lockfiles/*.json")), ids=lambda path: path.stem)
def test_committed_locks(path: Path) -> None:
    lock = read(path.parent, path.stem)
    assert lock is not None
    assert lock.answers(recorded_recipe(lock))


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["steps"].append({"kind": "shell", "commands": ["true"]}),
        lambda r: r["steps"].append({"kind": "workdir", "path": "/x", "owner": "root"}),
        lambda r: r["base"].update(kind="scratch"),
        lambda r: r.pop("flyte"),
        lambda r: r.update(entrypoint=["sh"]),
    ],
)
def test_what_is_not_known_is_never_left_out(change: Any) -> None:
    recipe = cast("dict[str, Any]", json.loads(json.dumps(recipe_of("a").to_json())))
    change(recipe)
    lock = dataclasses.replace(lock_of(recipe_of("a")), recipe=recipe)
    with pytest.raises(LockError, match="env: the lock's recipe"):
        recorded_recipe(lock)
