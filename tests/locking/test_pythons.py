"""Which relocatable Python an image gets, and what a lock of one moves with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from flyte_build.kernel.errors import FetchError, LockError, ResolutionError
from flyte_build.kernel.platforms import Platform
from flyte_build.kernel.reporting import Recorder
from flyte_build.locking.bases import target
from flyte_build.locking.pythons import find_python, newest
from flyte_build.locking.tools import build_tools
from flyte_build.locks.lockfile import lock_path, parse, read
from flyte_build.locks.pythons import LockedPython
from flyte_build.recipe import DebianBase, EnvVars, Recipe
from flyte_build.sources.pythons import Build
from tests.support.index import SimpleIndex
from tests.support.locking import FakeDebian, project, publish, recipe
from tests.support.pythons import file_name, files, listing, pack
from tests.support.recipes import python_of


def build(version: str, date: str) -> Build:
    return Build(f"cpython-{version}-linux-x86_64-gnu", version, f"https://x.example/{date}/{file_name(version, date)}")


def test_the_newest_under_a_cut_off() -> None:
    every = [build("3.12.10", "20260301"), build("3.12.9", "20260201"), build("3.12.8", "20260101")]
    assert newest(every, "3.12", "linux/amd64", None).version == "3.12.10"
    assert newest(every, "3.12", "linux/amd64", "2026-02-01T23:59:59Z").version == "3.12.9"
    with pytest.raises(ResolutionError, match=r"built by 2025-12-31T00:00:00Z: the oldest is of 20260101"):
        newest(every, "3.12", "linux/amd64", "2025-12-31T00:00:00Z")
    with pytest.raises(ResolutionError, match=r"uv knows no CPython 3\.12 for linux/arm64"):
        newest([], "3.12", "linux/arm64", None)


def relocatable(*steps: str | EnvVars) -> Recipe:
    return dataclasses.replace(recipe(*steps, python="3.12"), base=DebianBase("bookworm", standalone=True))


def held(folder: Path, name: str) -> LockedPython | None:
    found = read(folder, name)
    assert found is not None
    return found.platforms["linux/amd64"].python


class Finder:
    def __init__(self) -> None:
        self.version, self.asked = "3.12.9", list[tuple[str, Platform, str | None]]()

    def __call__(self, minor: str, platform: Platform, at: str | None) -> LockedPython:
        self.asked.append((minor, platform, at))
        return python_of(self.version)


def test_what_a_lock_has_of_it_and_when_it_moves(tmp_path: Path, index: SimpleIndex) -> None:
    publish(index.folder, "a 1.0", "b 1.0")
    folder, finder, debian = tmp_path / "lockfiles", Finder(), FakeDebian()
    report = project({"e": relocatable("a")}, folder, index, python=finder, debian=debian)
    part = report.locks["e"].platforms["linux/amd64"]
    assert part.python == python_of("3.12.9")
    assert debian.calls == [(None, "bookworm", "amd64", None, ())]
    assert target(relocatable("a"), "linux/amd64", part).python_full == "3.12.9"
    assert read(folder, "e") == report.locks["e"]
    # A newer one changes nothing until it is asked for; another environment on the same base gets the same.
    finder.version = "3.12.10"
    project({"e": relocatable("a", "b"), "f": relocatable("b")}, folder, index, python=finder, debian=debian)
    assert finder.asked == [("3.12", "linux/amd64", None)]
    assert [held(folder, name) for name in ("e", "f")] == [python_of("3.12.9")] * 2
    project({"e": relocatable("a")}, folder, index, python=finder, debian=debian, upgrade=True)
    assert held(folder, "e") == python_of("3.12.10")


def test_a_lock_without_it_is_none(tmp_path: Path, index: SimpleIndex) -> None:
    publish(index.folder, "a 1.0")
    folder = tmp_path / "lockfiles"
    project({"e": relocatable("a"), "d": recipe("a")}, folder, index, python=Finder())
    path = lock_path(folder, "e")
    text = path.read_text()
    (row,) = [line for line in text.splitlines() if '"python": {' in line]
    assert row.strip().startswith('"python": {"version": "3.12.9", "file": "cpython-3.12.9+20260102-x86_64-')
    with pytest.raises(LockError, match=r"\$\.platforms\.linux/amd64\.python: expected an archive, found null"):
        parse(text.replace(row + "\n", ""), path)
    other = lock_path(folder, "d").read_text()
    with pytest.raises(LockError, match=r"python: expected nothing: Debian has it"):
        parse(other.replace('      "snapshot"', f'{row}\n      "snapshot"', 1), path)


def test_it_brings_its_own_headers(tmp_path: Path, index: SimpleIndex) -> None:
    publish(index.folder, "a 1.0")
    report = project({"e": relocatable("a")}, tmp_path / "lockfiles", index, python=Finder())
    debian = FakeDebian()
    part = report.locks["e"].platforms["linux/amd64"]
    tools = build_tools(relocatable("a"), part, "linux/amd64", debian, None, Recorder())  # type: ignore[arg-type]
    assert [deb.name for deb in tools] == ["build-essential"]
    assert debian.calls[0][3:] == (None, ("build-essential",))


def test_who_cannot_have_it_is_told_every_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "20260102" / file_name("3.12.10"), files())
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(listing(tmp_path / "list.json", archive)))
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path / "cache"))
    archive.unlink()
    with pytest.raises(FetchError, match=r"Python 3\.12 for linux/amd64 cannot be had: cpython-3\.12\.10") as caught:
        find_python(tmp_path, Recorder())("3.12", "linux/amd64", None)
    for way in ("UV_PYTHON_INSTALL_MIRROR", "python-install-mirror", "that Debian has", 'base = "registry"'):
        assert way in (caught.value.hint or "")
