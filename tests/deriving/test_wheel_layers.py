"""A ceiling on layers of wheels: who is spread over how many, and where it is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flyte_build.deriving import derive, recorded_recipe
from flyte_build.deriving.wheel_layers import parts
from flyte_build.kernel.errors import LockError
from flyte_build.locks.nouns import LockedWheel
from flyte_build.recipe import Recipe
from flyte_build.recipe.conventions import LAYER_CEILING
from tests.support.recipes import AMD64, lock_of, recipe_of, wheel

MIB = 1 << 20


def titles(recipe: Recipe, wheels: list[LockedWheel]) -> list[str]:
    return [layer.title for layer in derive(lock_of(recipe, wheels), recipe, AMD64).layers if layer.kind == "wheels"]


def test_only_what_is_above_the_ceiling_is_spread() -> None:
    assert LAYER_CEILING == 4 << 30
    assert parts(LAYER_CEILING, LAYER_CEILING) == 1
    assert parts(LAYER_CEILING + 1, LAYER_CEILING) == 3
    assert parts(2 * LAYER_CEILING, LAYER_CEILING) == 4


def test_a_large_wheel_is_several_layers() -> None:
    recipe = replace(recipe_of("torch"), layer_ceiling=100 * MIB)
    assert titles(recipe, [wheel("torch", size=120 * MIB), wheel("tiny")]) == [
        "torch 1.0 (part 1 of 3)",
        "torch 1.0 (part 2 of 3)",
        "torch 1.0 (part 3 of 3)",
        "tiny 1.0",
    ]
    made = derive(lock_of(recipe, [wheel("torch", size=120 * MIB)]), recipe, AMD64)
    assert made.layers[-1].spec["part"] == {"number": 3, "of": 3, "ceiling": 100 * MIB}
    assert len({layer.hash for layer in made.layers}) == len(made.layers)


def test_small_wheels_of_a_step_fill_more_than_one_layer() -> None:
    recipe = replace(recipe_of("a"), layer_ceiling=16 * MIB)
    some = [wheel(name, size=3 * MIB) for name in "abcdefg"]
    assert titles(recipe, some) == ["a 1.0, b 1.0, c 1.0, d 1.0, e 1.0", "f 1.0, g 1.0"]
    runtime = [wheel("flyte", step=0, size=9 * MIB), wheel("a", step=0, size=9 * MIB)]
    assert titles(recipe, runtime) == ["a 1.0", "flyte runtime 1.0"]


def test_the_runtime_is_spread_too() -> None:
    recipe = replace(recipe_of("a"), layer_ceiling=16 * MIB)
    assert len(titles(recipe, [wheel("grpcio", step=0, size=17 * MIB)])) == 3


def test_the_lock_says_so_where_it_is_not_the_default() -> None:
    recipe = recipe_of("a")
    assert "layer_ceiling" not in str(recipe.to_json())
    low = replace(recipe, layer_ceiling=MIB)
    assert recorded_recipe(lock_of(low)) == low
    assert lock_of(recipe).staleness(low) == ["layer_ceiling: none → 1048576"]


def test_more_layers_than_engines_take() -> None:
    recipe = replace(recipe_of("a"), layer_ceiling=16 * MIB)
    with pytest.raises(
        LockError, match=r"^env: expected at most 125 layers, found 13\d with a `layer-ceiling` of 16777216"
    ):
        derive(lock_of(recipe, [wheel("torch", size=1024 * MIB)]), recipe, AMD64)
