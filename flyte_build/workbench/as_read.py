"""The project as it was read before, for commands that need its environments and locks: neither flyte nor the user's
file is imported.

What a file's environments are does not depend on what is asked of them, nor on their locks, unless an image is a
Dockerfile's or the file reads its locks itself; and a lock holds the recipe that it answers. So what one command keeps
for all others is what it read: environments and tasks by name, all that this depended on
(:mod:`flyte_build.planning.recording`), what the locks were beside their wheels' versions, and what the checks of calls
said. Where all of that is as it was, the rest is done as ever: locks are read and judged, images planned, made, pinned
and pushed. What is not certain is nobody's to decide here: then the file is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..deriving.from_lock import recorded_recipe
from ..kernel.errors import FlyteBuildError
from ..kernel.reporting import Reporter
from ..kernel.values import dataclass, replace
from ..locks.lockfile import lock_path, read
from ..locks.nouns import Lock
from ..planning import noop
from ..planning.checks.wheels.kept import kept_at
from ..planning.rows import written
from ..planning.workspace import Workspace, checked_platform, find_lockfiles
from ..project.modules import Modules
from ..project.nouns import Asks, Environment, Project, Task
from ..recipe import CondaInstall, Delegation, Recipe
from ..settings import default_file
from ..store import Store
from .bench import Workbench
from .judged import Judged, locks_now
from .judgements import Judgement, frame, judgement_of, says

if TYPE_CHECKING:
    from ..planning.checks import Finding
    from ..planning.recording import Recording
    from ..remote.cache import RemoteCache

__all__ = ["AsRead", "Kept", "Meant"]

# What a recipe of these says is not all in its lock.
_UNRECORDED = (CondaInstall, Delegation)
# Different selections of environments, and platforms, of which is kept what the checks said.
_MOST = 8


@dataclass(frozen=True, slots=True)
class Meant:
    """What a command asks of a project, as :class:`~.bench.Workbench` has it. ``calls`` that would fail are refused by
    it (``refuse``), or it tells all that is found about them (``tell``); ``""``: it does not look at them."""

    task: str | None = None
    env: tuple[str, ...] = ()
    platform: str | None = None
    calls: str = ""


class Kept:
    """What is kept of the project of ``file``; all three are as a command line has them."""

    def __init__(self, file: Path | None, root: Path | None, lockfiles: Path | None) -> None:
        self._key = noop.key_of("project", [str(word) if word is not None else "" for word in (file, root, lockfiles)])
        self._file, self._lockfiles = file, lockfiles
        self._record: Mapping[str, Any] | None = None

    def bench(self, meant: Meant, reporter: Reporter) -> AsRead | None:
        """The project, if it is sure to be the same for what is ``meant``."""
        record = noop.true_record(self._key)
        try:
            named = record is not None and self._named(record["answer"])
            found = _as_read(record, meant, Store(), reporter) if record is not None and named else None
        except (FlyteBuildError, OSError, LookupError, TypeError, ValueError, AttributeError):
            # Whatever is wrong, with a lock or with a name, is said by whoever reads the project.
            return None
        self._record = record
        return found

    def _named(self, answer: Mapping[str, Any]) -> bool:
        """Whether it is of the files that are meant: a record lies where others may write."""
        file = (self._file or default_file(Path.cwd())).absolute()
        folder = self._lockfiles.absolute() if self._lockfiles else find_lockfiles(Path(answer["root"]))
        return (answer["file"], answer["lockfiles"]) == (str(file), str(folder)) and file.is_relative_to(answer["root"])

    def keep(self, recording: Recording, bench: Workbench) -> None:
        """Keep the project of ``bench``, which ``recording`` saw being read, and what its checks said."""
        if isinstance(bench, AsRead):
            return
        answer = _answer(bench)
        if answer is None:
            return
        also = None
        if self._record is not None and {**self._record["answer"], "judged": None} == {**answer, "judged": None}:
            also, before = self._record, self._record["answer"]["judged"]
            if not answer["judged"]:
                return
            now = [(one["meant"], one["platform"]) for one in answer["judged"]]
            answer["judged"] += [one for one in before if (one["meant"], one["platform"]) not in now][: _MOST - 1]
        names = bench.workspace.project.environments
        apart = [str(bench.store.root), *(str(lock_path(bench.lockfiles, name)) for name in names)]
        written(self._key, recording.document_of_project(self._key, answer, apart, also))


class AsRead(Workbench):
    """A project that is not read again; only of use for what was meant when it was taken. ``record`` is what it was
    taken from."""

    def __init__(
        self,
        workspace: Workspace,
        reporter: Reporter,
        store: Store,
        record: Mapping[str, Any],
        findings: Sequence[Finding],
        consulted: Sequence[str],
    ) -> None:
        super().__init__(workspace, Modules(workspace.project.root), reporter, store)
        self.record = record
        self._findings = findings
        self._consulted = consulted

    def findings(
        self,
        environments: Sequence[Environment],
        platform: str | None = None,
        *,
        online: bool = True,
        reporter: Reporter | None = None,
        shared: RemoteCache | None = None,
    ) -> list[Finding]:
        """What was found when they were checked, with a look at what that was read from, for whoever watches."""
        for sha256 in self._consulted:
            kept_at(self.store.root, sha256).is_file()
        return list(self._findings)

    def refuse_failing(
        self, environments: Sequence[Environment], platform: str | None, shared: RemoteCache | None = None
    ) -> None:
        """It is known that none does."""


def _answer(bench: Workbench) -> dict[str, Any] | None:
    """What is kept of a project, as JSON; ``None`` where another lock could mean another project."""
    project = bench.workspace.project
    environments = list(project.environments.values())
    locks = locks_now(bench.workspace)
    if not environments or locks is None or not all(map(_is_plain, environments)):
        return None
    if any(e.name not in locks or recorded_recipe(locks[e.name]) != e.recipe for e in environments):
        return None
    judged = bench.judged
    told = judgement_of(judged, environments) if judged is not None and _saw(judged, locks) else None
    return {
        "file": str(project.file),
        "root": str(project.root),
        "lockfiles": str(bench.lockfiles),
        "store": str(bench.store.root),
        "stand_ins": list(project.stand_ins),
        "environments": [
            [e.name, list(e.depends_on), e.location, e.remark, e.plain, _asks(e.asks)] for e in environments
        ],
        "tasks": [
            [t.name, t.full_name, t.environment, t.location, _asks(t.asks) if t.asks else None] for t in project.tasks
        ],
        "frames": {name: frame(lock) for name, lock in locks.items()},
        "judged": [told] if told is not None else [],
    }


def _saw(judged: Judged, locks: Mapping[str, Lock]) -> bool:
    """Whether these are the locks that were judged, but for their pins."""
    then = judged.locks
    if then is None or then.keys() != locks.keys():
        return False
    return all(
        then[name] is lock or replace(then[name], pins={}) == replace(lock, pins={}) for name, lock in locks.items()
    )


def _is_plain(environment: Environment) -> bool:
    """Whether its lock has all of its recipe, and its recipe nothing of its lock."""
    wish = environment.wish
    return (
        isinstance(wish, Recipe)
        and environment.again is None
        and not any(isinstance(step, _UNRECORDED) for step in wish.steps)
        and not wish.stages
    )


def _asks(asks: Asks) -> list[Any]:
    replicas = list(asks.replicas) if asks.replicas is not None else None
    return [dict(asks.resources), asks.accelerator, replicas, asks.concurrency, asks.queue]


def _asks_of(row: Sequence[Any]) -> Asks:
    resources, accelerator, replicas, concurrency, queue = row
    return Asks(resources, accelerator, (replicas[0], replicas[1]) if replicas else None, concurrency, queue)


def _as_read(record: Mapping[str, Any], meant: Meant, store: Store, reporter: Reporter) -> AsRead | None:
    answer: Mapping[str, Any] = record["answer"]
    if answer["store"] != str(store.root):
        return None
    folder, root = Path(answer["lockfiles"]), Path(answer["root"])
    locks: dict[str, Lock] = {}
    for name, then in answer["frames"].items():
        lock = read(folder, name)
        # Of one that is stale, too: the recipe that it answers is in it.
        if lock is None or frame(lock) != then:
            return None
        locks[name] = lock
    recipes = {name: recorded_recipe(lock) for name, lock in locks.items()}
    environments = {
        name: Environment(
            name, tuple(depends_on), location, recipes[name], plain=plain, asks=_asks_of(asks), remark=remark
        )
        for name, depends_on, location, remark, plain, asks in answer["environments"]
    }
    tasks = tuple(
        Task(name, full, of, location, "", {}, None, asks=_asks_of(asks) if asks else None)
        for name, full, of, location, asks in answer["tasks"]
    )
    workspace = Workspace(Project(Path(answer["file"]), root, environments, tasks, tuple(answer["stand_ins"])), folder)
    selected = _selected(workspace, meant)
    if selected is None:
        return None
    findings: Sequence[Finding] = ()
    consulted: Sequence[str] = ()
    if meant.calls:
        asked = [e.name for e in selected], checked_platform(selected, meant.platform)
        told: Judgement | None = next((j for j in answer["judged"] if (j["meant"], j["platform"]) == asked), None)
        said = says(told, meant.calls, recipes, locks, root, store, reporter) if told is not None else None
        if told is None or said is None:
            return None
        findings, consulted = said, told["consulted"]
    return AsRead(workspace, reporter, store, record, findings, consulted)


def _selected(workspace: Workspace, meant: Meant) -> list[Environment] | None:
    """The environments that are meant; ``None`` where only the code of the tasks tells."""
    if meant.task is None:
        return workspace.select(env=meant.env)
    found = workspace.environments([workspace.project.task(meant.task).environment])
    every = workspace.project.environments.values()
    return None if any(e.plain for e in every if e not in found) else found
