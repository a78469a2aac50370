"""A user's file with its locks: what every command starts from.

Finds where the locks lie, walks ``depends_on``, reads and judges the locks, and makes the derivations.
Reads files; decides nothing about building.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..deriving.derivation import ImageDerivation, derive
from ..kernel.errors import FlyteBuildError, InputError, LoadError, LockError
from ..kernel.paths import shown
from ..kernel.platforms import host_platform
from ..kernel.values import dataclass
from ..locks.known import known_of
from ..locks.lockfile import Lock, lock_path, read
from ..project.layout import starting
from ..project.nouns import Environment, Project
from ..recipe import Known, Recipe
from ..settings import read_settings
from .closure import closure

__all__ = ["Workspace", "checked_platform", "find_lockfiles", "open_workspace"]


def find_lockfiles(root: Path) -> Path:
    """The folder of the project's locks: ``lockfiles`` of its settings (``$FLYTE_BUILD_LOCKFILES`` first), else the
    nearest folder of that name upwards from ``root``, else beside the nearest ``pyproject.toml`` or ``.git``, else in
    ``root`` itself."""
    if stated := read_settings(root).lockfiles:
        return stated
    folders = [root, *root.parents]
    for folder in folders:
        if (folder / "lockfiles").is_dir():
            return folder / "lockfiles"
        if (folder / ".git").exists():
            break
    for folder in folders:
        if (folder / "pyproject.toml").is_file() or (folder / ".git").exists():
            return folder / "lockfiles"
    return root / "lockfiles"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A loaded project and the folder of its locks."""

    project: Project
    lockfiles: Path

    def __post_init__(self) -> None:
        """What Dockerfiles leave to others to say (their bases, addresses) is as it is locked."""
        for environment in self.project.environments.values():
            if environment.again is not None and (known := self._known(environment.name)) != Known():
                environment.read_again(known)

    def _known(self, name: str) -> Known:
        try:
            lock = read(self.lockfiles, name)
        except FlyteBuildError:
            # Whoever needs the lock says what is wrong with it.
            return Known()
        return known_of(lock) if lock is not None else Known()

    def environments(self, start: Iterable[str]) -> list[Environment]:
        """The environments reachable from ``start``, dependencies first."""
        every = self.project.environments
        return [every[name] for name in closure(start, {n: e.depends_on for n, e in every.items()})]

    def _needed(self, start: Sequence[str]) -> list[Environment]:
        """What a run that starts there needs: also what it calls without ``depends_on``, where Flyte allows that."""
        found = self.environments(start)
        if any(e.plain for e in self.project.environments.values() if e not in found):
            from .checks.unlisted import called_unlisted

            while more := called_unlisted(self.project, [e.name for e in found]):
                found = self.environments([*start, *more])
                start = [*start, *more]
        return found

    def select(self, task: str | None = None, env: Sequence[str] = ()) -> list[Environment]:
        """What a command line means: a task's environment, the environments named, or all of the file's."""
        if task is not None:
            return self._needed([self.project.task(task).environment])
        for name in env:
            if name not in self.project.environments:
                have = ", ".join(self.project.environments) or "none"
                raise LoadError(f"{shown(self.project.file)}: no environment `{name}`; there are: {have}")
        names = list(env) or list(self.project.environments)
        if not names:
            hint = "an environment is a `flyte.TaskEnvironment(name=…)` at the top level of the file"
            if self.project.to_install:
                hint += f"; those of a library that is not installed here show once {_those(self.project)} installed"
            raise LoadError(f"{shown(self.project.file)}: no environment in this file", hint=hint)
        return self.environments(names)

    def recipes(self, environments: Iterable[Environment]) -> dict[str, Recipe]:
        """The recipes by environment; raises what reading the first unreadable image met."""
        return {e.name: e.recipe for e in environments}

    def locks(self, environments: Iterable[Environment]) -> dict[str, Lock]:
        """The locks, each there and answering its recipe; raises one :class:`LockError` for all that do not."""
        found: dict[str, Lock] = {}
        complaints: list[str] = []
        for environment in environments:
            lock = read(self.lockfiles, environment.name)
            if lock is None:
                complaints.append(f"{environment.name}: no lock ({shown(lock_path(self.lockfiles, environment.name))})")
                continue
            changes = lock.staleness(environment.recipe)
            complaints.extend(f"{environment.name}: {change}" for change in changes)
            found[environment.name] = lock
        if complaints:
            what = "1 lock is" if len({c.split(":")[0] for c in complaints}) == 1 else "locks are"
            raise LockError(
                f"{what} stale or missing:\n" + "\n".join(f"  {c}" for c in complaints),
                hint=f"run `flyte-build lock {shown(self.project.file)}`",
            )
        return found

    def without_lock(self, environments: Iterable[Environment]) -> bool:
        """Whether not one of these environments has a lock: a project that was never locked."""
        return not any(lock_path(self.lockfiles, e.name).exists() for e in environments)

    def platforms(self, environments: Sequence[Environment], asked: str | None) -> list[str]:
        """The platforms to work on: ``asked`` (one, or ``all``), by default this machine's."""
        known: list[str] = list(dict.fromkeys(p for e in environments for p in e.recipe.platforms))
        if asked == "all":
            return known
        wanted = asked or host_platform()
        for e in environments:
            if wanted not in e.recipe.platforms:
                raise InputError(
                    f"environment {e.name} is not for {wanted}, but for {', '.join(e.recipe.platforms)}",
                    hint="name one with --platform, or give the image that platform",
                )
        return [wanted]

    def derivations(
        self, environments: Sequence[Environment], locks: dict[str, Lock], platform: str
    ) -> list[ImageDerivation]:
        """One derivation an environment, in the given order; local files are read and hashed here."""
        from ..deriving.local_files import snapshot

        made = []
        for e in environments:
            if platform in e.recipe.platforms:
                lock = locks[e.name]
                held = lock.platforms[platform]
                files = snapshot(e.recipe, self.project.root, held.base, held.stages)
                made.append(derive(lock, e.recipe, platform, files))
        return made


def open_workspace(
    file: Path, root: Path | None = None, lockfiles: Path | None = None, *, stand_ins: bool = False
) -> Workspace:
    """Import the user's file and find its locks. Raises :class:`LoadError`.

    ``root`` and ``lockfiles`` are what the command line says. Where it says nothing the settings are asked *here*, so
    that whoever records what a plan depends on sees them read.

    With ``stand_ins``, what the tasks need and this machine has not does not stop it (``project.stand_ins`` names it).
    """
    from ..project.loading import load

    layout = starting(file, root)
    project = load(file, layout.root, search=layout.search, stand_ins=stand_ins)
    return Workspace(project, lockfiles.absolute() if lockfiles else find_lockfiles(project.root))


def checked_platform(environments: Sequence[Environment], asked: str | None) -> str:
    """The platform that calls are checked on: the one that was ``asked`` for, else (also for ``all``) this machine's
    where the images have it, else the first that they have."""
    if asked not in (None, "all"):
        return str(asked)
    here = host_platform()
    known = [p for e in environments if not isinstance(e.wish, Exception) for p in e.recipe.platforms]
    return here if here in known or not known else known[0]


def _those(project: Project) -> str:
    return f"{', '.join(project.to_install)} {'is' if len(project.to_install) == 1 else 'are'}"
