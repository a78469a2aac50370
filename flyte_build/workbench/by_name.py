"""Which of a file's own tasks its code calls by name (``flyte.remote.Task.get("env.task", …)``), and those tasks.

On a backend such a task must have been deployed. Here it may also be one of the file that is run: then its environment
belongs to the run, although no ``depends_on`` says so. Names are looked for as literals; others are found once
deployed.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..project.declaring import declare
from ..project.nouns import Task
from ..submit.cache import bundle_digest
from ..submit.deployed import DeployedTask
from ..submit.driving import DOMAIN, PROJECT
from ..submit.template import pin_root, version_of
from .opened import OpenProject

__all__ = ["called_by_name", "own_tasks", "sources"]

_LARGEST = 4 << 20


def called_by_name(bench: OpenProject) -> list[Task]:
    """Those of the project's tasks whose full name is in a module that uses ``flyte.remote``."""
    tasks = {task.full_name: task for task in bench.tasks}
    with bench.modules.entered():
        texts = [text for _, text in sources(bench.root)]
    found = {name for text in texts if "remote" in text for name in _strings(text) if name in tasks}
    return [task for name, task in tasks.items() if name in found]


def own_tasks(bench: OpenProject, references: Mapping[str, str], bundles: Path) -> dict[str, DeployedTask]:
    """The tasks that are called by name, as if they were deployed; ``references``: environment → image by digest."""
    wanted = [task for task in called_by_name(bench) if task.environment in references]
    if not wanted:
        return {}
    with bench.modules.entered():
        declared = declare(bench.workspace.project, wanted, bundles)
    found = {}
    for one in declared:
        task, bundle = one.task, one.serialized.bundle
        spec = pin_root(one.spec, references, task.environment, "")
        found[task.full_name] = DeployedTask(
            project=PROJECT,
            domain=DOMAIN,
            name=task.full_name,
            version=version_of(spec),
            environment=task.environment,
            spec=spec.SerializeToString(deterministic=True),
            images={reference: reference.rpartition("@")[2] for reference in references.values()},
            code=bundle_digest(bundle),
            bundle=bundle,
            at=0.0,
            inline={task.full_name: task.inline},
            file=str(bench.file),
        )
    return found


def sources(root: Path) -> Iterator[tuple[Path, str]]:
    """The project's modules that were imported: file, and what it says."""
    below = f"{root}{os.sep}"
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if not isinstance(name, str) or not name.endswith(".py") or not name.startswith(below):
            continue
        if {"site-packages", "dist-packages"} & set(Path(name).parts):
            continue
        try:
            with open(name, "rb") as f:
                yield Path(name), f.read(_LARGEST).decode(errors="replace")
        except OSError:
            continue


def _strings(text: str) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
