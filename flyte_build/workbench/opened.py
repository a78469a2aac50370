"""An open project, as the verbs see it: what the file has, its settings and locks, and where progress goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..kernel.reporting import Reporter
from ..planning.workspace import Workspace
from ..project.modules import Modules
from ..project.nouns import Environment, Task
from ..settings import Settings, read_settings
from ..store import Store

__all__ = ["OpenProject"]


class OpenProject:
    """What :class:`flyte_build.workbench.Workbench` is without its verbs; everything it shows is read-only."""

    checked = False
    """Whether it is known that no call fails, so that nobody has to look."""

    def __init__(self, workspace: Workspace, modules: Modules, reporter: Reporter, store: Store) -> None:
        self.workspace = workspace
        self.modules = modules
        self.reporter = reporter
        self.store = store

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
        with self.modules.entered():
            return self.workspace.select(task, env)

    def settings(
        self, *, caches: Sequence[str] = (), registry: str | None = None, network: str | None = None
    ) -> Settings:
        """The project's settings, with what is given here instead (see docs/settings.md)."""
        found = read_settings(self.root, said={"network": network})
        if caches:
            found = replace(found, cache=tuple(dict.fromkeys(caches)))
        return replace(found, registry=registry) if registry else found
