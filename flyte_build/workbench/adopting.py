"""``init``: an existing Flyte project → its settings, its locks, and what of it will be refused, with the ways out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..kernel.errors import FlyteBuildError, LoadError
from ..kernel.reporting import Reporter
from ..project.survey import FlyteFile, Survey, survey
from ..settings.reading import stated
from ..settings.writing import add_table, table_text
from .bench import Workbench, open_project

__all__ = ["Adoption", "FlyteFile", "Refusal", "Tried", "look", "relative", "settle", "table_text", "try_file"]


@dataclass(frozen=True, slots=True)
class Adoption:
    """What a project is, and the ``values`` of [tool.flyte-build] that suit it. ``file``: the pyproject.toml they would
    go into; ``there``: it has the table already."""

    survey: Survey
    file: Path
    values: Mapping[str, str]
    there: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """An environment (or, without one, the whole file) that is not taken as it is, and the way out."""

    environment: str | None
    said: str
    way_out: str | None


@dataclass(frozen=True, slots=True)
class Tried:
    """One file, loaded: its environments, those that were locked, and the refusals."""

    file: Path
    environments: tuple[str, ...]
    locked: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    bench: Workbench | None = None


def look(folder: Path) -> Adoption:
    """Read the project in ``folder``; nothing is imported or written. Raises :class:`LoadError` where no file there
    makes a task environment."""
    folder = folder.absolute()
    found = survey(folder)
    if not found.files:
        unread = f"; these cannot be parsed: {', '.join(map(str, found.unread))}" if found.unread else ""
        raise LoadError(
            f"{folder}: no Flyte file: none of the Python files here makes a flyte.TaskEnvironment{unread}",
            hint="run this in the folder of a Flyte 2 project, or name it: `flyte-build init FOLDER`",
        )
    file, table = stated(folder)
    values: dict[str, str] = {}
    if found.entry is not None:
        values["file"] = found.entry.as_posix()
    if found.root is not None:
        values["root"] = found.root.as_posix()
    if found.registries:
        values["registry"] = found.registries[0]
    return Adoption(found, file if table else folder / "pyproject.toml", values, bool(table))


def settle(adoption: Adoption) -> None:
    """Write the settings. Raises :class:`InputError`, :class:`StoreError`; then nothing was written."""
    if not adoption.there:
        add_table(adoption.file, adoption.values)


def try_file(adoption: Adoption, path: Path, reporter: Reporter, *, lock: bool = True) -> Tried:
    """Load ``path`` (relative to the folder), and lock every environment that can be.

    What cannot be is a refusal, environment by environment; nothing is raised but what stops everybody.
    """
    folder = adoption.survey.folder
    root = folder / adoption.survey.root if adoption.survey.root is not None else None
    try:
        bench = open_project(folder / path, root=root, reporter=reporter)
    except FlyteBuildError as e:
        return Tried(path, (), (), (Refusal(None, e.message, e.hint),))
    names = tuple(bench.environments)
    refusals = [
        Refusal(e.name, str(getattr(e.wish, "message", e.wish)), getattr(e.wish, "hint", None))
        for e in bench.environments.values()
        if isinstance(e.wish, Exception)
    ]
    refused = {r.environment for r in refusals}
    good = [name for name in names if not _below(bench, name) & refused]
    refusals += [
        Refusal(name, f"depends on {', '.join(sorted(_below(bench, name) & refused))}", None)
        for name in names
        if name not in good and name not in refused
    ]
    locked: tuple[str, ...] = ()
    if lock and good:
        try:
            locked = tuple(bench.lock(env=good).locks)
        except FlyteBuildError as e:
            if len(good) == 1:
                return Tried(path, names, (), (*refusals, Refusal(good[0], e.message, e.hint)), bench)
            locked, alone = _one_by_one(bench, good)
            refusals += alone
    return Tried(path, names, locked, tuple(refusals), bench)


def _one_by_one(bench: Workbench, names: list[str]) -> tuple[tuple[str, ...], list[Refusal]]:
    """Where all together cannot be locked: which can, each with what it depends on."""
    locked: dict[str, None] = {}
    refusals = []
    for name in names:
        try:
            locked.update(dict.fromkeys(bench.lock(env=[name]).locks))
        except FlyteBuildError as e:
            refusals.append(Refusal(name, e.message, e.hint))
    return tuple(locked), refusals


def _below(bench: Workbench, name: str) -> set[str]:
    return {e.name for e in bench.workspace.environments([name])}


def relative(path: Path) -> str:
    """``path`` as the user would type it from where they stand."""
    shown = os.path.relpath(path)
    return str(path) if shown.startswith("../..") else shown
