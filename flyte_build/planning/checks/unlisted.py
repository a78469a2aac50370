"""Environments that tasks call without ``depends_on``, and that Flyte runs all the same: their image needs no table.

A run carries a table of images for what its root's environment depends on; an image that nobody put a layer on (the
SDK's default, a name) is found without it. So such an environment belongs to what a task needs. Judges nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from ...project.loading import Project, load_module
from ...project.source_files import Sources
from .interpreter.calls import CallGraph
from .interpreter.rounds import TooMuch
from .interpreter.uses import Certainty

__all__ = ["called_unlisted"]


def called_unlisted(project: Project, names: Iterable[str]) -> list[str]:
    """The environments outside of ``names`` whose image needs no table and that tasks of ``names`` call, in the order
    found. Follows the calls only where the project has such environments; raises :class:`LoadError`."""
    known = set(names)
    candidates = {n for n, e in project.environments.items() if e.plain} - known
    if not candidates:
        return []
    graph = CallGraph(Sources(project.root, map(Path, sys.path)), lambda name: load_module(project, name))
    found: list[str] = []
    pending = [t for t in project.tasks if t.environment in known]
    while pending:
        task = pending.pop(0)
        try:
            calls = graph.of_task(task.template, task.full_name).calls
        except TooMuch:
            break
        for call in calls:
            if call.environment in candidates and call.certainty > Certainty.PERHAPS:
                candidates.discard(call.environment)
                found.append(call.environment)
                pending += [t for t in project.tasks if t.environment == call.environment]
    return found
