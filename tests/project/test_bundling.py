"""The SDK's question where a file lies has the SDK's answers, asked of the disk once."""

from __future__ import annotations

import os
import threading
from itertools import product
from pathlib import Path

import pytest
from flyte._code_bundle import _utils

from flyte_build.project.bundling import each_path_once


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    (tmp_path / "real/below").mkdir(parents=True)
    (tmp_path / "realm").mkdir()
    for name in ("real/a.py", "real/below/b.py", "realm/c.py"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real/d.py").symlink_to("../realm/c.py")
    (tmp_path / "broken").symlink_to("nowhere")
    found = [
        *tmp_path.rglob("*"),
        tmp_path,
        tmp_path / "absent/x.py",
        tmp_path / "link/a.py",
        tmp_path / "real/../realm",
    ]
    return ["/", *map(str, found)]


def test_the_answers_are_the_sdks(paths: list[str]) -> None:
    asked = _utils._file_is_in_directory
    expected = {pair: asked(*pair) for pair in product(paths, paths)}
    assert set(expected.values()) == {True, False}
    with each_path_once():
        assert _utils._file_is_in_directory is not asked
        assert {pair: _utils._file_is_in_directory(*pair) for pair in expected} == expected
    assert _utils._file_is_in_directory is asked


def test_each_path_is_resolved_once(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    resolved: list[str] = []
    real = os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path: (resolved.append(path), real(path))[1])
    with each_path_once():
        for pair in product(paths, paths):
            _utils._file_is_in_directory(*pair)
    assert sorted(resolved) == sorted(paths)


def test_the_last_who_leaves_takes_it_away(tmp_path: Path) -> None:
    asked = _utils._file_is_in_directory
    entered, leave = threading.Event(), threading.Event()

    def longer() -> None:
        with each_path_once():
            entered.set()
            leave.wait(60)

    other = threading.Thread(target=longer)
    with each_path_once():
        other.start()
        assert entered.wait(60)
    assert _utils._file_is_in_directory is not asked
    leave.set()
    other.join(60)
    assert _utils._file_is_in_directory is asked


def test_what_moved_since_is_seen_the_next_time(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "link").symlink_to("one")
    with each_path_once():
        assert _utils._file_is_in_directory(f"{tmp_path}/link/a.py", f"{tmp_path}/one")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("two")
    with each_path_once():
        assert not _utils._file_is_in_directory(f"{tmp_path}/link/a.py", f"{tmp_path}/one")


def test_an_sdk_that_asks_otherwise_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_utils, "_file_is_in_directory")
    with each_path_once():
        assert not hasattr(_utils, "_file_is_in_directory")
