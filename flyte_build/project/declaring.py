"""Tasks → their specifications without a call, as ``flyte deploy`` registers them. Part of the SDK's edge.

The SDK's public dry run wants a call, and so values for every parameter. So the task takes none for the time of it;
parameters and their defaults are then put into the specification by the SDK's own type engine.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flyteidl2.core import interface_pb2
from flyteidl2.task import common_pb2, task_definition_pb2

from ..kernel.errors import FlyteBuildError, LoadError
from ..kernel.values import dataclass
from .nouns import Project, Task
from .serializing import SerializedTask, root_action

__all__ = ["Declared", "declare"]


@dataclass(frozen=True, slots=True)
class Declared:
    """A task as it is registered: ``spec`` is its serialized ``flyteidl2.task.TaskSpec``; the rest as in
    :class:`~.serializing.SerializedTask`."""

    task: Task
    spec: bytes
    serialized: SerializedTask


def declare(project: Project, tasks: Sequence[Task], bundles: Path) -> list[Declared]:
    """Serialize ``tasks``; their code bundle is written into ``bundles``. Raises :class:`LoadError`."""
    return [_declared(project, task, bundles) for task in tasks]


def _declared(project: Project, task: Task, bundles: Path) -> Declared:
    interface = task.template.native_interface
    try:
        with _without_parameters(task.template):
            found = root_action(project, task, {}, bundles)
        spec = task_definition_pb2.TaskSpec.FromString(found.task_spec)
        with ThreadPoolExecutor(1) as apart:  # a notebook's own loop may be running
            apart.submit(asyncio.run, _parameters(interface, spec)).result()
    except FlyteBuildError:
        raise
    except Exception as e:  # what the SDK and a type's own code may raise
        raise LoadError(f"{task.location}: {task.full_name} cannot be deployed: {type(e).__name__}: {e}") from e
    docs = inspect.cleandoc(task.doc) if task.doc else ""
    if docs:
        first, _, rest = docs.partition("\n")
        spec.documentation.short_description = first.strip()[:255]
        spec.documentation.long_description = rest.strip()[:2048]
    return Declared(task, spec.SerializeToString(deterministic=True), found)


@contextmanager
def _without_parameters(template: Any) -> Iterator[None]:
    """No copy of the task: the SDK looks for the very object in its module."""
    interface = template.interface
    template.interface = dataclasses.replace(interface, inputs={})
    try:
        yield
    finally:
        template.interface = interface


async def _parameters(interface: Any, spec: task_definition_pb2.TaskSpec) -> None:
    """Put the parameters of ``interface``, and those of their defaults that can be passed on, into ``spec``."""
    from flyte.types import TypeEngine

    variables = spec.task_template.interface.inputs.variables
    for name, (kind, default) in sorted(interface.inputs.items()):
        literal_type = TypeEngine.to_literal_type(kind)
        variables.append(interface_pb2.VariableEntry(key=name, value=interface_pb2.Variable(type=literal_type)))
        if default is inspect.Parameter.empty:
            continue
        literal = await TypeEngine.to_literal(default, kind, literal_type)
        parameter = interface_pb2.Parameter(var=interface_pb2.Variable(type=literal_type), default=literal)
        spec.default_inputs.append(common_pb2.NamedParameter(name=name, parameter=parameter))
