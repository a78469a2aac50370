"""A project: that its file loads, its locks answer, nothing of them is lost to git, and its calls hold."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from ...kernel.errors import FlyteBuildError, LockError
from ...kernel.quantities import counted
from ...kernel.reporting import Silent
from ...locks.lockfile import read
from ...settings import default_file
from ..bench import Workbench, open_project
from .lines import Line, bad, good, note, of_error

__all__ = ["of_project"]

AREA = "project"


def of_project(file: Path | None, root: Path | None, lockfiles: Path | None) -> Iterator[Line]:
    """The lines about the project of ``file``; one line where there is none."""
    try:
        chosen = file or default_file(Path.cwd())
    except FlyteBuildError:
        yield note(
            AREA, "file", "none is named", "`flyte-build doctor FILE`, or `flyte-build init` for a project's settings"
        )
        return
    try:
        bench = open_project(chosen, root=root, lockfiles=lockfiles, reporter=Silent())
    except FlyteBuildError as e:
        yield of_error(AREA, "file", e)
        return
    names = ", ".join(bench.environments) or "no environment"
    yield good(AREA, "file", f"{chosen}: {counted(len(bench.tasks), 'task')} in {names}")
    if bench.stand_ins:
        yield note(AREA, "stand-ins", f"not installed here, which is fine: {', '.join(bench.stand_ins)}")
    yield from _locks(bench, chosen)


def _locks(bench: Workbench, file: Path) -> Iterator[Line]:
    whole = True
    for environment in bench.environments.values():
        name = f"lock of {environment.name}"
        try:
            recipe = environment.recipe
            lock = read(bench.lockfiles, environment.name)
            if lock is None:
                yield note(AREA, name, "there is none yet", f"`flyte-build lock {file}`")
                whole = False
                continue
            changes = lock.staleness(recipe)
        except FlyteBuildError as e:
            yield of_error(AREA, name, e)
            whole = False
            continue
        if changes:
            whole = False
            yield bad(AREA, name, f"stale: {'; '.join(changes)}", f"`flyte-build lock {file}`", LockError.exit_code)
        else:
            pinned = f", pinned for {', '.join(sorted(lock.pins))}" if lock.pins else ", not pinned yet"
            yield good(AREA, name, f"answers its recipe{pinned}")
    yield from _git(bench.lockfiles)
    if whole and bench.environments:
        yield from _calls(bench)


def _git(folder: Path) -> Iterator[Line]:
    if not folder.is_dir():
        return
    command = ["git", "-C", str(folder), "check-ignore", "-q", "."]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return
    if done.returncode == 0:
        yield bad(
            AREA, "git", f"{folder} is ignored: a clone of this project has no locks", "take it out of .gitignore", 4
        )


def _calls(bench: Workbench) -> Iterator[Line]:
    try:
        found = bench.plan(online=False).findings
    except FlyteBuildError as e:
        yield of_error(AREA, "calls", e)
        return
    errors = [f for f in found if f.severity == "error"]
    if errors:
        first = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        yield bad(AREA, "calls", f"{first.message}{more}", first.hint or "`flyte-build plan --check` shows all", 10)
    else:
        yield good(AREA, "calls", "every call finds its environment and its imports, as far as is known here")
