"""(i) Locking: with empty caches, with all that was asked before at hand, and where nothing changed.

The example's three environments on two platforms. The peer of the cold case is what has to be asked anyway: one
``uv lock`` of all their requirements together, and ``apt-get update`` for both architectures. It chooses one set of
versions for no image in particular, looks into no wheel, and solves no Debian packages; so it is a floor as much as a
peer. Needs the network; with ``--quick`` only that nothing changed is measured, which needs none.

Requests are counted in a run of its own, by what ``--verbose`` tells; those that uv makes are its own.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from flyte_build.locks.lockfile import read

from .context import CLI, NO_PEERS, Context
from .measure import Sample, command, in_turns
from .report import Case, Ratio
from .sets import ROOT

__all__ = ["cases"]

GOAL, GOAL_MS = 2, 100
OURS, PEER = "flyte-build lock", "uv lock of all, and apt-get update"
_ASKED = re.compile(r"^ *[\d.]+ s +http +(?:GET|HEAD) ", re.MULTILINE)
_APT = (
    "-o", "APT::Architecture=amd64", "-o", "APT::Architectures::=amd64", "-o", "APT::Architectures::=arm64",
    "-o", "Debug::NoLocking=1",
)  # fmt: skip


def cases(context: Context) -> Iterator[Case]:
    work = _Locking(context)
    if not context.quick:
        yield work.cold()
        yield work.known()
    yield work.unchanged()


class _Locking:
    """A copy of the example, and what is locked of it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._project = context.fresh("project")
        for name in ("examples/af2", "lockfiles"):
            shutil.copytree(ROOT / name, self._project / name, ignore=shutil.ignore_patterns("__pycache__"))

    def cold(self) -> Case:
        reason = None if self._context.peers else NO_PEERS
        if reason is None and shutil.which("apt-get") is None:
            reason = "peer not measured: no `apt-get` on PATH"
        sides: dict[str, Callable[[], Sample]] = {OURS: lambda: self._anew(self._context.fresh("caches"))}
        if reason is None:
            sides[PEER] = self._theirs
        series = in_turns(self._context.rounds, sides)
        ratios = []
        if reason is None:
            ours, theirs = series
            ratios = [
                Ratio(f"wall: {OURS} / {PEER}", ours.wall / theirs.wall, GOAL),
                Ratio(f"processor: {OURS} / {PEER}", ours.cpu / theirs.cpu),
            ]
        counted = self._anew(self._context.fresh("caches"), "--verbose")
        facts: dict[str, object] = {"requests besides uv's": _requests(counted)}
        return Case("three environments, two platforms: cold", series, ratios, facts, reason)

    def known(self) -> Case:
        caches = self._context.fresh("caches")
        self._anew(caches)
        series = in_turns(self._context.rounds, {OURS: lambda: self._anew(caches)})
        facts: dict[str, object] = {"requests besides uv's": _requests(self._anew(caches, "--verbose"))}
        return Case("three environments, two platforms: all of it asked before", series, [], facts)

    def unchanged(self) -> Case:
        caches = self._context.fresh("caches")
        sides: dict[str, Callable[[], Sample]] = {
            "python -c pass": lambda: command((sys.executable, "-c", "pass")),
            OURS: lambda: self._run(caches, self._project / "lockfiles"),
            f"{OURS} --check": lambda: self._run(caches, self._project / "lockfiles", "--check"),
        }
        for side in sides.values():
            side()
        series = in_turns(self._context.rounds, sides)
        ratios = [Ratio(s.label, s.wall * 1000, GOAL_MS, unit="ms") for s in series[1:]]
        return Case("three environments, two platforms: nothing changed", series, ratios)

    def _anew(self, caches: Path, *more: str) -> Sample:
        """Into an empty folder of locks."""
        return self._run(caches, self._context.fresh("locks"), *more)

    def _run(self, caches: Path, locks: Path, *more: str) -> Sample:
        where = {"FLYTE_BUILD_CACHE": str(caches / "store"), "UV_CACHE_DIR": str(caches / "uv")}
        # What `--verbose` tells goes to standard error.
        words = " ".join((*CLI, "lock", "examples/af2/main.py", "--lockfiles", str(locks), *more))
        return command(("sh", "-c", f"exec {words} 2>&1"), env={**where, **_ours()}, cwd=self._project)

    def _theirs(self) -> Sample:
        folder = self._context.fresh("uv")
        (folder / "pyproject.toml").write_text(_union(self._project / "lockfiles"))
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True)
        own = ("-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}")
        script = f"uv lock -q\napt-get -qq {' '.join((*_APT, *own))} update\n"
        path = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)))
        return command(("sh", "-ec", script), env={"UV_CACHE_DIR": str(folder / "cache"), "PATH": path}, cwd=folder)


def _ours() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))}


def _requests(ran: Sample) -> int:
    return len(_ASKED.findall(ran.output))


def _union(locks: Path) -> str:
    """A project that requires what all the example's images do, on Linux."""
    wanted: dict[str, None] = {}
    for path in sorted(locks.glob("*.json")):
        lock = read(locks, path.stem)
        assert lock is not None
        recipe: dict[str, object] = dict(lock.recipe)  # type: ignore[arg-type]
        steps: list[dict[str, list[str]]] = recipe["steps"]  # type: ignore[assignment]
        wanted |= dict.fromkeys([f"flyte=={recipe['flyte']}"])
        wanted |= dict.fromkeys(r for step in steps for r in step.get("requirements", ()))
    listed = ", ".join(f'"{requirement}"' for requirement in wanted)
    return (
        f'[project]\nname = "all"\nversion = "0"\nrequires-python = "==3.11.*"\ndependencies = [{listed}]\n'
        "[tool.uv]\nenvironments = [\"sys_platform == 'linux'\"]\n"
    )
