"""Which source distribution is built for want of a wheel, and how a lock holds it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import LockError, ResolutionError
from flyte_build.locking.pypi.question import NoSolution
from flyte_build.locking.pypi.sources import _newest, without_wheels
from flyte_build.locking.wheels import Target
from flyte_build.locks import parse
from flyte_build.locks.builds import LockedBuild, LockedSource, Required
from flyte_build.sources.indexes import IndexFile, IndexSettings

from ..support.recipes import deb, lock_of, recipe_of, wheel

TARGET = Target("linux/amd64", "3.11", "3.11.2", (2, 36))
SAID = """error: No solution found when resolving dependencies
  cause: Because all versions of rouge-score have no usable wheels and you require rouge-score, …

hint: Wheels are required for `rouge-score` because building from source is disabled for all packages
hint: Wheels are required for `Doc.Opt` because building from source is disabled for all packages
"""


class Index:
    """Stands for a client: files by name, with what an index may say of them."""

    settings = IndexSettings(None)

    def __init__(self, *files: IndexFile | str) -> None:
        self._files = tuple(IndexFile(f, f"file:///{f}") if isinstance(f, str) else f for f in files)

    def files(self, _: str) -> tuple[IndexFile, ...]:
        return self._files


def newest(*files: IndexFile | str, texts: tuple[str, ...] = (), cutoff: str | None = None) -> str:
    client: Any = Index(*files)
    return _newest("a-b", texts, client, cutoff, TARGET)[1].name


def test_uv_names_what_has_no_wheel() -> None:
    assert without_wheels(NoSolution("no", detail=SAID)) == ("rouge-score", "doc-opt")
    assert without_wheels(NoSolution("no", detail="versions disagree")) == ()
    assert without_wheels(NoSolution("no")) == ()


def test_the_newest_that_was_asked_for_is_taken() -> None:
    files = ("a_b-1.0.tar.gz", "a-b-1.9.tar.gz", "a_b-2.0.tar.gz", "a_b-2.1rc1.tar.gz", "a_b-3.0.exe", "a_b-9-x.whl")
    assert newest(*files) == "a_b-2.0.tar.gz"
    assert newest(*files, texts=("A.B<2", "other>3")) == "a-b-1.9.tar.gz"
    assert newest(*files, texts=("a-b<2; python_version < '3'",)) == "a_b-2.0.tar.gz"


def test_what_an_index_says_against_a_file_counts() -> None:
    old = IndexFile("a_b-1.0.tar.gz", "file:///1", upload_time="2020-01-01T00:00:00Z")
    new = IndexFile("a_b-2.0.tar.gz", "file:///2", upload_time="2024-01-01T00:00:00Z")
    assert newest(old, new, cutoff="2022-01-01T00:00:00Z") == old.name
    assert newest(old, replace(new, yanked="broken")) == old.name
    assert newest(old, replace(new, requires_python=">=3.12")) == old.name


def test_no_version_that_was_asked_for() -> None:
    with pytest.raises(ResolutionError, match="a-b>5: no wheel for linux/amd64"):
        newest("a_b-1.0.tar.gz", texts=("a-b>5",))


SOURCE = LockedSource("a", "1.0", "a-1.0.tar.gz", 10, "a" * 64)
NEEDS = Required("setuptools", "70", "setuptools-70-py3-none-any.whl", 5, "b" * 64)
BUILD = LockedBuild("c" * 64, SOURCE, (NEEDS,), True, native=True)


def test_a_lock_holds_it() -> None:
    lock = lock_of(recipe_of("a"), [wheel("a")])
    platforms = {n: replace(p, builds=(BUILD,), tools=(deb("gcc", base=False),)) for n, p in lock.platforms.items()}
    held = replace(lock, platforms=platforms)
    assert parse(held.text(), Path("env.json")) == held
    raw = json.loads(held.text())
    raw["platforms"]["linux/amd64"]["builds"][0]["source"]["file"] = "../a.tar.gz"
    with pytest.raises(LockError, match=r"builds\[0\]\.source\.file: expected a file name"):
        parse(json.dumps(raw), Path("env.json"))
