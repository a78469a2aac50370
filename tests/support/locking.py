"""A project to lock, without the network: recipes in a line, wheels in a line, and a Debian of three packages."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from flyte_build.kernel.reporting import Recorder, Reporter
from flyte_build.locking.apt import DebianResolution
from flyte_build.locking.project import LockReport, lock_project
from flyte_build.locking.pypi.pip_tools import host
from flyte_build.locking.wheels import Target
from flyte_build.locks.lockfile import Lock, LockedDeb, parse
from flyte_build.recipe import DebianBase, PipInstall, Platform, Recipe, Step
from flyte_build.sources.indexes import Index, IndexSettings

from .index import SimpleIndex
from .wheels import build_wheel

__all__ = [
    "BOOKWORM",
    "HOST_PLATFORM",
    "HOST_PYTHON",
    "FakeDebian",
    "pins",
    "project",
    "publish",
    "recipe",
    "settings",
    "whole_lock",
]

# Where pip-tools can be asked: here.
HOST_PLATFORM, HOST_PYTHON = cast("tuple[Platform, str]", host())
BOOKWORM = Target("linux/amd64", "3.11", "3.11.2", (2, 36))


def publish(folder: Path, *wheels: str) -> None:
    """Each wheel as ``name version`` or ``name version: requirement, requirement`` or ``name version [tag]``."""
    folder.mkdir(parents=True, exist_ok=True)
    for text in wheels:
        head, _, requires = text.partition(":")
        name, version, *tag = head.split()
        wanted = [r.strip() for r in requires.split(",") if r.strip()]
        extras = sorted({e for r in wanted for e in re.findall(r"extra\s*==\s*['\"]([^'\"]+)", r)})
        fields = [f"Requires-Dist: {r}" for r in wanted] + [f"Provides-Extra: {e}" for e in extras]
        metadata = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *fields, "", ""])
        chosen = tag[0][1:-1] if tag else "py3-none-any"
        build_wheel(folder, name, version, metadata={"METADATA": metadata}, tag=chosen)


def recipe(
    *steps: str | Step,
    flyte: str | None = None,
    python: str = "3.11",
    platforms: tuple[Platform, ...] = ("linux/amd64",),
) -> Recipe:
    """A recipe whose text steps are pip steps: ``"a>=1 b"``."""
    suite = {"3.13": "trixie"}.get(python, "bookworm")
    made = tuple(PipInstall(tuple(s.split())) if isinstance(s, str) else s for s in steps)
    return Recipe(DebianBase(suite), platforms, python, flyte, made)


def settings(index: SimpleIndex) -> IndexSettings:
    return IndexSettings(Index(index.url))


class FakeDebian:
    """Stands in for the Debian archive: ``today`` is its state, ``calls`` is what was asked of it."""

    def __init__(self, today: str = "20260101T000000Z") -> None:
        self.today = today
        self.calls: list[tuple[str | None, str, str, str | None, tuple[str, ...]]] = []

    @contextmanager
    def __call__(self, cutoff: str | None, reporter: Reporter) -> Iterator[_Locker]:
        yield _Locker(self, cutoff)


class _Locker:
    def __init__(self, debian: FakeDebian, cutoff: str | None) -> None:
        self._debian, self._cutoff = debian, cutoff

    def lock(self, suite: str, architecture: str, python: str | None, packages: Sequence[str]) -> DebianResolution:
        self._debian.calls.append((self._cutoff, suite, architecture, python, tuple(packages)))
        asked = self._cutoff.replace("-", "").replace(":", "") if self._cutoff else None
        snapshot = asked if asked and asked < self._debian.today else self._debian.today
        versions = {"libc6": {"bookworm": "2.36-9", "trixie": "2.41-12"}[suite]}
        if python is not None:
            patch = {"3.11": "3.11.2-6", "3.13": "3.13.5-2"}.get(python, f"{python}.1-1")
            versions = {f"python{python}-minimal": patch, **versions}
        debs = [_deb(n, v, architecture, snapshot, base=True) for n, v in versions.items()]
        debs += [_deb(name, "1.0-1", architecture, snapshot, base=False) for name in packages]
        return DebianResolution(suite, snapshot, tuple(sorted(debs, key=lambda d: d.name)), (), ())

    def add(self, suite: str, architecture: str, status: Sequence[str], packages: Sequence[str]) -> DebianResolution:
        there = " ".join(re.findall(r"^Package: (\S+)\nStatus: install ok installed", "\n".join(status), re.MULTILINE))
        self._debian.calls.append((self._cutoff, suite, architecture, there, tuple(packages)))
        snapshot = self._debian.today
        debs = tuple(_deb(name, "1.0-1", architecture, snapshot, base=False) for name in sorted(packages))
        return DebianResolution(suite, snapshot, debs, (), ())


def _deb(name: str, version: str, architecture: str, snapshot: str, *, base: bool) -> LockedDeb:
    sha256 = (snapshot[:8] * 8)[:64]
    return LockedDeb(
        name, version, architecture, f"{name}_{version}_{architecture}.deb", 10, sha256, name, "debian", "main", base
    )


def project(
    recipes: Mapping[str, Recipe],
    directory: Path,
    index: SimpleIndex,
    *,
    debian: FakeDebian | None = None,
    reporter: Reporter | None = None,
    **more: object,
) -> LockReport:
    return lock_project(  # type: ignore[arg-type]
        recipes,
        directory,
        reporter=reporter or Recorder(),
        **{"root": directory.parent, "settings": settings(index), "debian": debian or FakeDebian(), **more},
    )


def pins(lock: Lock, platform: str = "linux/amd64") -> dict[str, tuple[str, int]]:
    """Name → (version, step)."""
    return {w.name: (w.version, w.step) for w in lock.platforms[platform].wheels}


def whole_lock(path: Path) -> dict[str, Any]:
    """A lock file as schema 1 has it: every platform with all of its rows, and every row with all of its fields."""
    text = path.read_text(encoding="utf-8")
    raw: dict[str, Any] = json.loads(text)
    lock = parse(text, path)
    for name, platform in lock.platforms.items():
        for key in {"debs", "wheels", "tools"} & raw["platforms"][name].keys():
            rows = [dataclasses.asdict(row) for row in getattr(platform, key)]
            raw["platforms"][name][key] = [{k: v for k, v in row.items() if v is not None} for row in rows]
    return {**{k: v for k, v in raw.items() if k not in ("debs", "wheels")}, "schema": 1}
