"""A way into a sandbox that is tried before a run asks for it: what a guess was good for, and what not."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import SandboxError
from flyte_build.kernel.paths import cache_dir, runs_dir
from flyte_build.workbench import trying


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """What was tried, in order; each gives what it was asked."""
    found: list[tuple[Any, ...]] = []

    def entrance(*question: Any) -> tuple[Any, ...]:
        found.append(question)
        return question

    monkeypatch.setattr(trying, "entrance", entrance)
    monkeypatch.setattr(trying, "_BEGUN", {})
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FLYTE_BUILD_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("FLYTE_BUILD_NETWORK", raising=False)
    return found


def project(folder: Path, network: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    line = f'network = "{network}"\n' if network else ""
    (folder / "pyproject.toml").write_text(f"[tool.flyte-build]\n{line}")
    return folder / "main.py"


def test_who_asks_what_was_guessed_has_what_came_of_it(tmp_path: Path, asked: list[Any]) -> None:
    trying.begin(project(tmp_path / "here", "none"), None)
    found: Any = trying.tried(None, "none", [runs_dir(), cache_dir()]).result(30)
    assert found == (None, "none", (runs_dir(), cache_dir()))
    assert len(asked) == 1


@pytest.mark.parametrize("other", ["network", "folders", "engine"])
def test_who_asks_otherwise_has_it_tried_anew(tmp_path: Path, asked: list[Any], other: str) -> None:
    trying.begin(project(tmp_path / "here"), "host")
    engine: Any = object() if other == "engine" else None
    folders = [tmp_path] if other == "folders" else [runs_dir(), cache_dir()]
    network: Any = "none" if other == "network" else "host"
    found: Any = trying.tried(engine, network, folders).result(30)
    assert found == (engine, network, tuple(folders))
    assert len(asked) == 2


def test_what_was_tried_is_given_once(tmp_path: Path, asked: list[Any]) -> None:
    trying.begin(project(tmp_path / "here"), None)
    for _ in range(2):
        trying.tried(None, None, [runs_dir(), cache_dir()]).result(30)
    assert len(asked) == 2


def test_an_error_is_for_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise SandboxError("no way")

    monkeypatch.setattr(trying, "entrance", refused)
    trying.begin(project(tmp_path / "here"), None)
    with pytest.raises(SandboxError, match="no way"):
        trying.tried(None, None, [runs_dir(), cache_dir()]).result(30)


def test_settings_that_are_none_are_said_by_who_reads_them_next(tmp_path: Path, asked: list[Any]) -> None:
    trying.begin(project(tmp_path / "here", "everything"), None)
    assert asked == []
    assert trying._BEGUN == {}


def test_nobody_waits_for_what_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    going = threading.Event()
    monkeypatch.setattr(trying, "entrance", lambda *_: going.wait(60))
    trying.begin(project(tmp_path / "here"), None)
    assert [t.daemon for t in threading.enumerate() if t.name == "trying"] == [True]
    going.set()
