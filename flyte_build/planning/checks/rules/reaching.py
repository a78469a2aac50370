"""Locked images by environment, and what importing a module or running a task imports in one of them.

Joins the call graph (which functions run) with the imports (what each of them needs). Judges nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from ....locks.nouns import Lock, LockedWheel
from ....project.conditions import Target
from ....project.source_files import LocalModule, Sources
from ..interpreter.calls import CallGraph, Reach
from ..interpreter.imports import Importer, Need, Reached
from ..wheels.modules import ModulesOf
from .judging import Image, Problem

__all__ = ["Images", "Reaching", "needs_of"]


class Images:
    """The images that ``locks`` hold for ``platform``."""

    def __init__(self, locks: Mapping[str, Lock], platform: str, modules_of: ModulesOf, sources: Sources) -> None:
        self.platform = platform
        self._locks = locks
        self._modules_of = modules_of
        self._sources = sources
        self._images: dict[str, Image | None] = {}

    def of(self, environment: str) -> Image | None:
        """The environment's image; ``None`` where no lock has it."""
        if environment not in self._images:
            lock = self._locks.get(environment)
            self._images[environment] = (
                Image(lock, self.platform, self._modules_of, self._sources)
                if lock is not None and self.platform in lock.platforms
                else None
            )
        return self._images[environment]

    def owner(self, problem: Problem, first: Image | None) -> tuple[str, LockedWheel | None]:
        """How a missing module is called, and the distribution that has it: in ``first``, else in any image."""
        if problem.kind != "absent":
            return problem.module, None
        images = [i for i in (first, *map(self.of, sorted(self._locks))) if i is not None]
        parts = problem.module.split(".")
        for image in images:
            for end in range(1, len(parts) + 1):
                answer = image.modules.find(".".join(parts[:end]))
                if answer.state == "found":
                    return ".".join(parts[:end]), answer.wheels[0]
        shared = any(i.modules.find(parts[0]).state == "namespace" for i in images)
        return problem.module if shared else parts[0], None


class Reaching:
    """What is imported where; each module once an image's Python and machine."""

    def __init__(self, sources: Sources, graph: CallGraph) -> None:
        self._sources = sources
        self._graph = graph
        self._importers: dict[Target, Importer] = {}
        self._reached: dict[tuple[Target, str], list[Reached]] = {}

    def module_of(self, template: object) -> LocalModule | None:
        """The module that defines a task; ``None`` where it is not the project's."""
        file: Path | None = self._graph.file_of(template)
        return self._sources.of(file) if file is not None else None

    def importing(self, image: Image, module: LocalModule) -> list[Reached]:
        """What importing ``module`` reaches in ``image``, functions that are called meanwhile included."""
        key = (image.target, module.name)
        if key not in self._reached:
            found = [self._importer(image).reached(module)]
            for inner in found[0].modules:
                loaded = sys.modules.get(inner.name)
                if loaded is not None:
                    found += self.running(image, self._graph.of_module(loaded))
            self._reached[key] = found
        return self._reached[key]

    def running(self, image: Image, reach: Reach) -> list[Reached]:
        """What the functions of ``reach`` import when they run."""
        out = []
        for frame in reach.frames:
            body = getattr(frame.node, "body", None)
            if isinstance(body, list):
                out.append(self._importer(image).reached_by(frame.module, body))
        return out

    def _importer(self, image: Image) -> Importer:
        if image.target not in self._importers:
            self._importers[image.target] = Importer(self._sources, image.target)
        return self._importers[image.target]


def needs_of(parts: Iterable[Reached], image: Image) -> list[Need]:
    """Every need once that arises in ``image``, those that are required first."""
    found = dict.fromkeys(need for part in parts for need in part.needs)
    return sorted((n for n in found if image.happens(n.what)), key=lambda n: not n.required)
