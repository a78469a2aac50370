"""Projects written as strings, loaded as the planner loads them, and locks whose wheels have the modules we say."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flyte_build.locks.nouns import Lock, LockedWheel
from flyte_build.planning.checks import Finding, check
from flyte_build.planning.checks.interpreter.calls import CallGraph, Reach
from flyte_build.project.loading import Project, load, load_module
from flyte_build.project.source_files import Sources
from tests.support.imports import forgotten
from tests.support.recipes import AMD64, lock_of, wheel

IMAGE = "import flyte\nimage = flyte.Image.from_debian_base(python_version=(3, 11))\n"


@pytest.fixture(autouse=True)
def _fresh_imports() -> Iterator[None]:
    """What a test imports is forgotten after it."""
    with forgotten():
        yield


@dataclass
class Wheels:
    """Locked wheels and what is in them; ``unreadable`` are wheels whose contents cannot be had."""

    modules: dict[str, frozenset[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def make(self, name: str, version: str = "1.0", *modules: str, step: int = 1, readable: bool = True) -> LockedWheel:
        made = wheel(name, version, step=step)
        if readable:
            self.modules[made.sha256] = frozenset(modules or (name.replace("-", "_"),))
        return made

    def __call__(self, wheels: Sequence[LockedWheel]) -> Mapping[str, frozenset[str]]:
        self.asked += [w.name for w in wheels]
        return {w.sha256: self.modules[w.sha256] for w in wheels if w.sha256 in self.modules}


@dataclass
class Loaded:
    """A project in a folder, and the questions tests ask of it."""

    project: Project
    wheels: Wheels

    def calls(self, task: str) -> Reach:
        sources = Sources(self.project.root, map(Path, sys.path))
        graph = CallGraph(sources, lambda name: load_module(self.project, name))
        found = self.project.task(task)
        return graph.of_task(found.template, found.full_name)

    def called(self, task: str) -> dict[str, str]:
        """Callee → certainty."""
        return {c.callee.rpartition(".")[2]: c.certainty.name for c in self.calls(task).calls}

    def lock(self, environment: str, *wheels: LockedWheel) -> Lock:
        flyte = self.wheels.make("flyte", "2.12.1", "flyte", "flyte.extras", "flyte.io", "flyte.remote", step=0)
        recipe = self.project.environments[environment].recipe
        return lock_of(recipe, [flyte, *wheels], environment=environment)

    def check(self, *locks: Lock, platform: str = AMD64) -> list[Finding]:
        given = {lock.environment: lock for lock in locks}
        return check(self.project, self.project.environments.values(), given, platform, self.wheels)


Make = Callable[..., Loaded]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write files (``a__b`` is ``a/b.py``, ``a__init`` a package's), load the last one with stand-ins."""

    def build(*, python: tuple[int, int] | None = None, **files: str) -> Loaded:
        path = tmp_path
        for name, text in files.items():
            path = tmp_path / (name.replace("__", "/") + ".py")
            path = path.with_name("__init__.py") if path.stem == "init" else path
            path.parent.mkdir(parents=True, exist_ok=True)
            body = textwrap.dedent(text)
            path.write_text(body.replace("(3, 11)", repr(python)) if python else body)
        return Loaded(load(path, tmp_path, stand_ins=True), Wheels())

    return build


def said(findings: list[Finding], *, notes: bool = False) -> list[str]:
    """``severity code file:line`` of each finding, in order; notes only when asked for."""
    return [f"{f.severity} {f.code} {f.file}:{f.line}" for f in findings if notes or f.severity != "note"]
