"""A file is called the same in every message: as one would type it where one stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.kernel.paths import shown


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("here/flow.py", "flow.py"),
        ("here/lockfiles", "lockfiles"),
        ("here/../here/a/b.json", "a/b.json"),
        ("lockfiles", "../lockfiles"),
        ("other/a.py", "../other/a.py"),
    ],
)
def test_what_is_near_is_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert shown(tmp_path / path) == said


def test_what_is_far_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert shown(tmp_path / "c") == str(tmp_path / "c")
