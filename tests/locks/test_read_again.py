"""A lock that is read again is not checked again, and one that changed is another."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.kernel.errors import LockError
from flyte_build.kernel.values import replace
from flyte_build.locks import lockfile

from ..support.recipes import lock_of, recipe_of, wheel


def test_the_same_bytes_are_the_same_value(tmp_path: Path) -> None:
    lockfile.write(tmp_path, lock_of(recipe_of("a"), [wheel("a")]))
    first = lockfile.read(tmp_path, "env")
    assert first is not None
    assert lockfile.read(tmp_path, "env") is first


def test_other_bytes_are_another(tmp_path: Path) -> None:
    lock = lock_of(recipe_of("a"), [wheel("a")])
    lockfile.write(tmp_path, lock)
    first = lockfile.read(tmp_path, "env")
    lockfile.write(tmp_path, replace(lock, resolver="other"))
    second = lockfile.read(tmp_path, "env")
    assert first is not None
    assert second is not None
    assert (first.resolver, second.resolver) == (lock.resolver, "other")
    (tmp_path / "env.json").write_text("{}")
    for _ in range(2):
        with pytest.raises(LockError, match=r"env\.json"):
            lockfile.read(tmp_path, "env")
