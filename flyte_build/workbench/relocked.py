"""Only locks changed: the project as it was read when it was built last, without importing flyte or the user's file.

What a file's environments are does not depend on their locks, unless an image is a Dockerfile's or the file reads them
itself; and a lock holds the recipe that it answers. So what is kept after a build is all that reading the file depended
on (:mod:`flyte_build.planning.recording`, less the locks and the store), and of each lock what the checks of calls saw.
Where all of that is as it was, the rest is done as ever: locks are read and judged, images planned, made and pinned.
What is not certain is nobody's to decide here: then the file is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..deriving.from_lock import recorded_recipe
from ..kernel.canonical import Json, digest
from ..kernel.errors import FlyteBuildError
from ..kernel.reporting import Reporter
from ..locks.lockfile import lock_path, read
from ..locks.nouns import Lock, LockedWheel
from ..planning.noop import load
from ..planning.workspace import Workspace
from ..project.modules import Modules
from ..project.nouns import Environment, Project, Task
from ..recipe import CondaInstall, Delegation, Recipe
from ..store import Store
from .bench import Workbench
from .opened import OpenProject

if TYPE_CHECKING:
    from ..planning.recording import Recording

__all__ = ["Seen", "keep", "reopened", "seen"]

Seen = Mapping[str, Any]
"""What the checks of calls saw of each environment's lock, as JSON."""

# What a recipe of these says is not all in its lock.
_UNRECORDED = (CondaInstall, Delegation)
# The rest of a wheel's row says which of its versions it is, which changes nothing for a check as long as it has the
# same modules.
_KEPT = ("name", "step")


def seen(bench: OpenProject, environments: Sequence[str], platform: str | None) -> Seen | None:
    """What is there of the locks, now that the images of ``environments`` are planned for ``platform``; ``None`` where
    another lock could mean another project."""
    from ..planning.checks.workspace import checked_platform

    project = bench.workspace.project
    if not environments or not all(map(_is_plain, project.environments.values())):
        return None
    chosen = checked_platform([project.environments[name] for name in environments], platform)
    locks: dict[str, Json] = {}
    try:
        for environment in project.environments.values():
            lock = read(bench.lockfiles, environment.name)
            if lock is None or recorded_recipe(lock) != environment.recipe:
                return None
            locks[environment.name] = _facts(lock, chosen)
    except FlyteBuildError:
        return None
    return {"platform": chosen, "locks": locks}


def keep(record: Recording, key: str, bench: OpenProject, environments: Sequence[str], then: Seen, check: bool) -> None:
    """Keep under ``key`` the project that ``record`` saw being read. ``environments`` were meant, ``then`` is what
    :func:`seen` said before their calls were checked; ``check``: they were."""
    project = bench.workspace.project
    if seen(bench, environments, str(then["platform"])) != then:
        return
    answer = {
        "file": str(project.file),
        "root": str(project.root),
        "lockfiles": str(bench.lockfiles),
        "store": str(bench.store.root),
        "meant": list(environments),
        "checked": check,
        "stand_ins": list(project.stand_ins),
        "environments": [[e.name, list(e.depends_on), e.location, e.remark] for e in project.environments.values()],
        "tasks": [[t.name, t.full_name, t.environment] for t in project.tasks],
        **then,
    }
    apart = [str(lock_path(bench.lockfiles, name)) for name in project.environments]
    record.save(key, answer, [str(bench.store.root), *apart])


def reopened(key: str, reporter: Reporter) -> Relocked | None:
    """The project that was kept under ``key``, if nothing of what it depended on has changed but locks, and these in a
    way that changes neither an environment nor what a check of its calls says."""
    answer = load(key)
    try:
        return _reopened(answer, Store(), reporter) if answer is not None else None
    except (FlyteBuildError, LookupError, TypeError, ValueError, AttributeError):
        # Whatever is wrong with a lock is said by whoever reads the project.
        return None


def _reopened(answer: Mapping[str, Any], store: Store, reporter: Reporter) -> Relocked | None:
    if answer["store"] != str(store.root):
        return None
    folder, chosen = Path(answer["lockfiles"]), str(answer["platform"])
    changed: list[tuple[LockedWheel, LockedWheel]] = []
    locks: dict[str, Lock] = {}
    for name, facts in answer["locks"].items():
        lock = read(folder, name)
        if lock is None:
            return None
        now, locks[name] = _facts(lock, chosen), lock
        # Of one that is stale, too: the recipe that it answers is in it.
        if now["frame"] != facts["frame"]:
            return None
        changed += _changed(facts["wheels"], cast("dict[str, list[Any]]", now["wheels"]))
    recipes = {name: recorded_recipe(lock) for name, lock in locks.items()}
    root = Path(answer["root"])
    if answer["checked"] and not _same_modules(changed, recipes, locks, root, store, reporter):
        return None
    environments = {
        name: Environment(name, tuple(depends_on), location, recipes[name], remark=remark)
        for name, depends_on, location, remark in answer["environments"]
    }
    tasks = tuple(Task(name, full, of, "", "", {}, None) for name, full, of in answer["tasks"])
    project = Project(Path(answer["file"]), root, environments, tasks, tuple(answer["stand_ins"]))
    return Relocked(Workspace(project, folder), Modules(root), reporter, store, answer["meant"])


class Relocked(Workbench):
    """A project of which only ``build`` with the words of before is asked: ``meant`` are the environments that those
    mean. That their calls do not fail is known."""

    checked = True

    def __init__(
        self, workspace: Workspace, modules: Modules, reporter: Reporter, store: Store, meant: Iterable[str]
    ) -> None:
        super().__init__(workspace, modules, reporter, store)
        self._meant = tuple(meant)

    def select(self, task: str | None = None, env: Sequence[str] = ()) -> list[Environment]:
        """The environments that are meant, whatever is asked."""
        return [self.environments[name] for name in self._meant]


def _is_plain(environment: Environment) -> bool:
    """Whether its lock has all of its recipe, and its recipe nothing of its lock."""
    wish = environment.wish
    return (
        isinstance(wish, Recipe)
        and environment.again is None
        and not any(isinstance(step, _UNRECORDED) for step in wish.steps)
        and not wish.stages
    )


def _facts(lock: Lock, platform: str) -> dict[str, Json]:
    """``frame`` is the digest of all that the lock says, less its pins and which versions its wheels are; ``wheels``
    are those of ``platform``, by name."""
    raw = cast("dict[str, Any]", lock.to_json())
    raw.pop("pins", None)
    for part in (raw, *raw["platforms"].values()):
        part["wheels"] = [{k: v for k, v in row.items() if k in _KEPT} for row in part.get("wheels", ())]
    held = lock.platforms.get(platform)
    wheels: dict[str, Json] = (
        {w.name: [w.version, w.file, w.size, w.sha256, w.step] for w in held.wheels} if held else {}
    )
    return {"frame": digest(raw), "wheels": wheels}


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[LockedWheel, LockedWheel]]:
    return [(LockedWheel(name, *then[name]), LockedWheel(name, *row)) for name, row in now.items() if row != then[name]]


def _same_modules(
    changed: Sequence[tuple[LockedWheel, LockedWheel]],
    recipes: Mapping[str, Recipe],
    locks: Mapping[str, Lock],
    root: Path,
    store: Store,
    reporter: Reporter,
) -> bool:
    """Whether the wheels that were replaced had the modules that their replacements have, and that is known of both."""
    if not changed:
        return True
    from ..planning.checks.wheels.contents import Contents
    from ..sources.locators import project_locator

    locator = project_locator(recipes, locks, root, hurried=True)
    found = Contents(store.root, store, locator, reporter)([wheel for pair in changed for wheel in pair])
    return all(found.get(was.sha256) == found.get(now.sha256) is not None for was, now in changed)
