"""Packages without a wheel in projects without a ``uv.lock``: built of their newest sources, and uv is asked again.

As for all other packages (:mod:`.sources`) uv, which builds nothing, says which these are, and is shown the wheels that
were made of them. Only of the project's ordinary indexes: what is of an index of its own is not guessed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from packaging.utils import parse_wheel_filename

from ...recipe import PipInstall
from ...sources.indexes import IndexClient, IndexSettings
from ...sources.uv_projects import UvSources
from ..wheels import Target
from .question import Answer, NoSolution
from .sources import Built, Sources, without_wheels

__all__ = ["Lacking"]


class Lacking:
    """``folder`` is for the wheels that uv is shown; the other arguments are ``solve_universe``'s."""

    def __init__(self, root: Path, settings: IndexSettings, sources: Sources, folder: Path) -> None:
        self._root, self._settings, self._sources, self._folder = root, settings, sources, folder
        self._met: dict[PipInstall, list[NoSolution]] = {}

    def links(self, step: PipInstall) -> Path | None:
        """The folder with the wheels that were made for ``step``, if any were."""
        return self._folder if step in self._met else None

    def more(self, step: PipInstall, error: NoSolution, target: Target, environment: str) -> bool:
        """Whether wheels were made for want of which uv found no solution. Raises what building raises."""
        met = self._met.get(step, [])
        new = set(without_wheels(error)) - {name for one in met for name in without_wheels(one)}
        project = UvSources(step, self._root, self._settings)
        if step.uv is None or step.uv.locked is not None or not self._sources.builds or not new:
            return False
        if any(project.allowed(name) != project.ordinary for name in new):
            return False
        self._met[step] = [*met, error]
        self._folder.mkdir(exist_ok=True)
        for built in self._made(step, target, environment).values():
            shutil.copyfile(built.path, self._folder / built.path.name)
        return True

    def of(self, step: PipInstall, target: Target, environment: str, answer: Answer) -> dict[str, Built]:
        """The wheels for ``target`` of those packages that ``answer`` has in the version that was made."""
        made = self._made(step, target, environment) if step in self._met else {}
        return {
            name: built
            for name, built in made.items()
            if name in answer.pins and answer.pins[name].version == str(parse_wheel_filename(built.path.name)[1])
        }

    def _made(self, step: PipInstall, target: Target, environment: str) -> dict[str, Built]:
        project = UvSources(step, self._root, self._settings)
        stated = (r for package in project.files.packages for r in package.requirements())
        texts = [str(requirement) for requirement in stated if requirement.url is None]
        found: dict[str, Built] = {}
        client = IndexClient(project.ordinary)
        try:
            for error in self._met[step]:
                found |= self._sources.wheels(error, texts, target, environment, client)
        finally:
            client.close()
        return found
