"""Locking a project that cannot be locked: the message, and that no file was touched."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from flyte_build.kernel.errors import FetchError, LockError, ResolutionError
from flyte_build.kernel.reporting import Recorder

from ..support.index import SimpleIndex
from ..support.locking import project, publish, recipe


@pytest.fixture
def folder(tmp_path: Path, index: SimpleIndex) -> Path:
    publish(index.folder, "a 1.0: b", "b 1.0", "c 1.0: b")
    return tmp_path / "lockfiles"


def texts(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.json"))}


def test_no_file_is_touched_when_one_environment_fails(folder: Path, index: SimpleIndex) -> None:
    project({"e": recipe("a")}, folder, index)
    before = texts(folder)
    publish(index.folder, "a 2.0")
    with pytest.raises(ResolutionError, match="environment f: no versions of `none-such`"):
        project({"e": recipe("a>1"), "f": recipe("none-such")}, folder, index)
    assert texts(folder) == before
    index.failing["/files/"] = itertools.repeat(503)
    with pytest.raises(FetchError, match=r"503|could not ask"):
        project({"e": recipe("a>1")}, folder, index)
    assert texts(folder) == before


def test_a_wheel_for_nothing_here_says_what_there_is(folder: Path, index: SimpleIndex) -> None:
    publish(index.folder, "n 1.0 [cp311-cp311-manylinux_2_28_x86_64]")
    both = ("linux/amd64", "linux/arm64")
    with pytest.raises(ResolutionError) as e:
        project({"e": recipe("n", platforms=both)}, folder, index)  # type: ignore[arg-type]
    assert "linux/arm64" in e.value.message
    assert "n==1.0 has no wheels with a matching platform tag" in str(e.value.detail)
    assert "manylinux_2_28_x86_64" in str(e.value.detail)


def test_an_index_that_lies_about_a_hash(folder: Path, index: SimpleIndex) -> None:
    index.lies["a-1.0-py3-none-any.whl"] = "00" * 32
    with pytest.raises(FetchError, match=rf"/files/a-1\.0-py3-none-any\.whl: the index states sha256 {'00' * 32}"):
        project({"e": recipe("a")}, folder, index)
    assert not folder.exists()


def test_an_index_without_sizes_or_hashes(folder: Path, index: SimpleIndex, tmp_path: Path) -> None:
    project({"e": recipe("a")}, tmp_path / "plain", index)
    index.hashes = index.sizes = index.json = False
    project({"e": recipe("a")}, folder, index)
    assert texts(folder) == texts(tmp_path / "plain")


def test_locks_that_cannot_be_believed_are_made_anew(folder: Path, index: SimpleIndex) -> None:
    project({"e": recipe("a"), "f": recipe("a")}, folder, index)
    good = texts(folder)
    (folder / "e.json").write_text(good["e"].replace('"python": "3.11"', '"python": "3.12"'))
    (folder / "f.json").write_text("{")
    said = Recorder()
    report = project({"e": recipe("a"), "f": recipe("a")}, folder, index, reporter=said)
    assert report.written == ("e", "f")
    assert texts(folder) == good
    assert [w.endswith("it is made anew") for w in said.warnings] == [True, True]


def test_a_lock_from_the_future_is_not_overwritten(folder: Path, index: SimpleIndex) -> None:
    project({"e": recipe("a")}, folder, index)
    raw = json.loads((folder / "e.json").read_text())
    (folder / "e.json").write_text(json.dumps({**raw, "schema": 99}))
    with pytest.raises(LockError, match="schema 99 is newer"):
        project({"e": recipe("a b")}, folder, index)


def test_a_lock_whose_environment_is_gone(folder: Path, index: SimpleIndex) -> None:
    project({"e": recipe("a"), "old": recipe("c")}, folder, index)
    report = project({"e": recipe("a")}, folder, index)
    assert report.notes == ("left as they are, as no environment of this file has their name: old.json",)
    assert (folder / "old.json").exists()
