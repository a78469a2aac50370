"""One environment's lock by itself: of an open project, or read off a lock file, with what its wheels need besides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.errors import InputError, LoadError
from ..kernel.paths import shown
from ..planning.workspace import Workspace

if TYPE_CHECKING:
    from ..locks.nouns import Lock
    from ..recipe import Recipe
    from ..sources.places import Locator

__all__ = ["Named", "of_file", "of_project"]


@dataclass(frozen=True, slots=True)
class Named:
    """A lock, and the project it is of: ``root``, and the ``recipe`` where it was read from a Python file."""

    lock: Lock
    root: Path
    recipe: Recipe | None = None

    def locator(self) -> Locator:
        """Where the wheels may be had. A lock file by itself tells no index of the recipe's own (law 1)."""
        from ..exporting.requirements import local_wheels
        from ..sources.locators import FileLocator, Locators, project_locator

        recipes = {self.lock.environment: self.recipe} if self.recipe is not None else {}
        own = FileLocator(self.root / path for path in local_wheels(self.lock).values())
        return Locators(own, project_locator(recipes, {self.lock.environment: self.lock}, self.root))


def of_project(workspace: Workspace, env: str | None) -> Named:
    """The lock of the environment ``env``, by default of the only one. Raises :class:`InputError` where that is not
    exactly one, :class:`LoadError` for one that is not there, :class:`LockError` for a lock that does not answer."""
    file, have = shown(workspace.project.file), workspace.project.environments
    name = env if env is not None else next(iter(have)) if len(have) == 1 else None
    if name is None and have:
        raise InputError(
            f"{file}: expected one environment, found {len(have)}: {', '.join(have)}",
            hint="name one with --env",
        )
    if name is None or name not in have:
        raise LoadError(f"{file}: no environment `{name or ''}`; there are: {', '.join(have) or 'none'}")
    lock = workspace.locks([have[name]])[name]
    return Named(lock, workspace.project.root, have[name].recipe)


def of_file(file: Path, env: str | None = None, root: Path | None = None) -> Named:
    """The lock in ``file``; nothing is imported. ``env``: the environment that it has to be of; ``root``: the project's
    folder (default: the one above the locks')."""
    from ..locks.lockfile import parse

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise LoadError(f"{file}: expected a lock file, which cannot be read: {e}") from None
    lock = parse(text, file)
    if env is not None and env != lock.environment:
        raise InputError(f"{file}: the lock of {lock.environment}, not of `{env}`")
    return Named(lock, (root or file.parent.parent).absolute())
