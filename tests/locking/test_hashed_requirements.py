"""What a hashed requirements file allows is what may be locked."""

from __future__ import annotations

import pytest

from flyte_build.kernel.errors import ResolutionError
from flyte_build.locking.hashed_requirements import check_allowed
from flyte_build.recipe import PipInstall
from tests.support.recipes import lock_of, recipe_of, wheel

A = wheel("a")


def test_a_wheel_among_the_allowed_hashes_passes() -> None:
    recipe = recipe_of(PipInstall(("a==1.0",), hashes=(("a", ("0" * 64, A.sha256)),)))
    check_allowed({"env": recipe}, {"env": lock_of(recipe, [A, wheel("b")])})


def test_another_hash_is_an_error_that_names_file_and_platform() -> None:
    recipe = recipe_of(PipInstall(("a==1.0",), hashes=(("a", ("0" * 64,)),)))
    with pytest.raises(
        ResolutionError, match=rf"env: {A.file} \(linux/amd64\) has the SHA-256 {A.sha256}.* none of the 1"
    ):
        check_allowed({"env": recipe}, {"env": lock_of(recipe, [A])})
