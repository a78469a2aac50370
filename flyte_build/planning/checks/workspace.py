"""The planner's checks, run on a workspace: joins loading, locks, the wheels' contents and the rules.

Errors are certain: the run would fail. So ``build`` and ``run`` refuse them before anything is fetched or built.
No rule of its own (see ``planning/checks``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...deriving.derivation import LayerDerivation, derive
from ...deriving.from_lock import recorded_recipe
from ...kernel.errors import CheckError, LockError
from ...kernel.reporting import Reporter, Silent
from ...kernel.users_code import asking
from ...locks.lockfile import read
from ...locks.nouns import Lock, LockedWheel
from ...project.nouns import Environment
from ...recipe import CopyFiles
from ...sources.locators import project_locator
from ...store import Store
from ..workspace import Workspace, checked_platform
from .rules.constraints import check
from .rules.findings import Finding
from .wheels.contents import Contents
from .wheels.layers import WheelLayers

if TYPE_CHECKING:
    from ...remote.cache import RemoteCache

__all__ = ["find", "refuse"]


def find(
    workspace: Workspace,
    environments: Sequence[Environment],
    store: Store,
    *,
    platform: str | None = None,
    online: bool = True,
    reporter: Reporter | None = None,
    shared: RemoteCache | None = None,
    consulted: set[str] | None = None,
) -> list[Finding]:
    """What is wrong with the calls of these environments' tasks. ``platform``: one of theirs (default: this machine's).

    With ``online``, what wheels hold that are not in the store is asked of the caches in ``shared``, then read from
    where configuration says. Without, and where nobody answers, what they would tell stays a note, and ``reporter`` is
    warned once. ``consulted`` gets the wheels that were looked into, by SHA-256. Environments without a readable lock
    are judged as far as that goes.
    """
    from ...project.loading import load_module

    project = workspace.project
    locks: dict[str, Lock] = {}
    for environment in project.environments.values():
        lock = read(workspace.lockfiles, environment.name)
        if lock is not None:
            locks[environment.name] = lock
    chosen = checked_platform(environments, platform)
    recipes = {e.name: e.recipe for e in project.environments.values() if not isinstance(e.wish, Exception)}
    with asking():
        locator = project_locator(recipes, locks, project.root, hurried=True) if online else None
    layers = WheelLayers(lambda: _layers(locks, chosen), store, shared if online else None)
    contents = Contents(store.root, store, locator, reporter, layers)
    findings = check(project, environments, locks, chosen, contents, load=lambda name: load_module(project, name))
    if consulted is not None:
        consulted |= contents.consulted
    if contents.unread and any(f.code == "not-checked" for f in findings):
        _warn(contents.unread, reporter or Silent())
    return findings


def _layers(locks: Mapping[str, Lock], platform: str) -> Iterator[LayerDerivation]:
    """The layers of these locks' images, but for copied files: nobody asks which those are."""
    for lock in locks.values():
        if platform not in lock.platforms:
            continue
        try:
            recipe = recorded_recipe(lock)
            copies = {i: () for i, step in enumerate(recipe.steps) if isinstance(step, CopyFiles)}
            yield from derive(lock, recipe, platform, copies).layers
        except LockError:
            continue


def _warn(unread: Mapping[LockedWheel, str], reporter: Reporter) -> None:
    names = [f"{w.name} {w.version}" for w in unread]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    reporter.warn(
        f"imports from {', '.join(names[:3])}{more} were not checked, as nobody says what is in them: "
        f"{next(iter(unread.values()))}"
    )


def refuse(findings: Iterable[Finding]) -> None:
    """Raises :class:`CheckError` when one of them is an error."""
    errors = [f for f in findings if f.severity == "error"]
    if not errors:
        return
    lines = [f"{f.file}:{f.line}: {f.message}" if f.line else f"{f.file}: {f.message}" for f in errors]
    hints = list(dict.fromkeys(f.hint for f in errors if f.hint))
    raise CheckError(
        lines[0] if len(lines) == 1 else f"{len(lines)} calls would fail:\n" + "\n".join(f"  {x}" for x in lines),
        hint=hints[0] if len(hints) == 1 else "\n".join(f"- {h}" for h in hints) if hints else None,
    )
