"""An open project, as the verbs see it: what the file has, its settings and locks, and where progress goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.reporting import Reporter
from ..kernel.users_code import reading
from ..planning.workspace import Workspace
from ..project.modules import Modules
from ..project.nouns import Environment, Task
from ..settings import Settings, read_settings
from ..store import Store
from .judged import Judged, locks_now

if TYPE_CHECKING:
    from ..planning.checks import Finding
    from ..remote.cache import RemoteCache

__all__ = ["OpenProject"]


class OpenProject:
    """What :class:`flyte_build.workbench.Workbench` is without its verbs; everything it shows is read-only."""

    def __init__(self, workspace: Workspace, modules: Modules, reporter: Reporter, store: Store) -> None:
        self.workspace = workspace
        self.modules = modules
        self.reporter = reporter
        self.store = store
        self.judged: Judged | None = None

    def __repr__(self) -> str:
        names = ", ".join(self.workspace.project.environments)
        return f"<flyte-build project {self.workspace.project.file}: {names}>"

    # -- what it is ------------------------------------------------------------------------------------

    @property
    def file(self) -> Path:
        """The user's file, absolute."""
        return self.workspace.project.file

    @property
    def root(self) -> Path:
        """The folder that imports start from, absolute."""
        return self.workspace.project.root

    @property
    def lockfiles(self) -> Path:
        """The folder of the locks, absolute; it need not exist yet."""
        return self.workspace.lockfiles

    @property
    def environments(self) -> Mapping[str, Environment]:
        """Every environment that the file reaches, by name."""
        return self.workspace.project.environments

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task of these environments."""
        return self.workspace.project.tasks

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The modules that are not installed here and were stood in for."""
        return self.workspace.project.stand_ins

    @property
    def remarks(self) -> tuple[str, ...]:
        """What of the images is chosen otherwise than the SDK on this machine would, a line each."""
        return tuple(e.remark for e in self.environments.values() if e.remark)

    def task(self, name: str) -> Task:
        """The task called ``name`` or ``environment.name``; raises :class:`LoadError`."""
        return self.workspace.project.task(name)

    def select(self, task: str | None = None, env: Sequence[str] = ()) -> list[Environment]:
        """The environments that are meant, dependencies first; raises :class:`LoadError` for a name that is none."""
        with reading(), self.modules.entered():
            return self.workspace.select(task, env)

    def findings(
        self,
        environments: Sequence[Environment],
        platform: str | None = None,
        *,
        online: bool = True,
        reporter: Reporter | None = None,
        shared: RemoteCache | None = None,
    ) -> list[Finding]:
        """What is wrong with the calls of these environments' tasks: :func:`flyte_build.planning.checks.find`."""
        from ..planning.checks import find

        with reading(), self.modules.entered():
            locks, consulted = locks_now(self.workspace), set[str]()
            found = find(
                self.workspace, environments, self.store,
                platform=platform, online=online, reporter=reporter, shared=shared, consulted=consulted,
            )  # fmt: skip
        names = tuple(e.name for e in environments)
        self.judged = Judged(names, platform, locks, frozenset(consulted), tuple(found))
        return found

    def refuse_failing(
        self, environments: Sequence[Environment], platform: str | None, shared: RemoteCache | None = None
    ) -> None:
        """Raises :class:`CheckError` where one of these calls would fail."""
        from ..planning.checks import refuse

        refuse(self.findings(environments, platform, reporter=self.reporter, shared=shared))

    def settings(
        self, *, caches: Sequence[str] = (), registry: str | None = None, network: str | None = None
    ) -> Settings:
        """The project's settings, with what is given here instead (see docs/settings.md)."""
        found = read_settings(self.root, said={"network": network})
        if caches:
            found = replace(found, cache=tuple(dict.fromkeys(caches)))
        return replace(found, registry=registry) if registry else found
