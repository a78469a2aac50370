"""Container tasks on this machine, by Flyte's convention for raw containers.

Each input is a file (a folder of files, for a list of files) in ``/var/inputs``, or wherever the task says, and all of
them are in ``inputs.json`` beside; arguments may name one as ``{{.inputs.NAME}}``. Each output is a file in
``/var/outputs``. There is no copilot: this process writes the inputs before the container starts and reads the outputs
when it has ended, through the door.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flyteidl2.core import literals_pb2, tasks_pb2
from flyteidl2.task import common_pb2, task_definition_pb2

from .. import door
from ..action import OUTPUTS, ImageRoot, LaunchRequest, Outcome
from ..berth import Berth
from ..kubernetes.errors import Unplaceable
from ..sandbox.spec import Mount
from ..storage import RunFolder
from .beside import Ground
from .borrowed import with_python
from .places import with_places
from .raw_values import NotText, json_of, literal_of, text_of, unreadable

__all__ = ["Raw", "read_raw"]

_INPUT = re.compile(r"\{\{\s*\.inputs\.(\w+)\s*\}\}")
_MOST_TEXT = 10 << 20
_DEEP = 100


def read_raw(request: LaunchRequest, image: ImageRoot, folder: RunFolder) -> Raw | None:
    """The container task of ``request``; ``None`` for any other task. Raises :class:`Unplaceable`."""
    task = task_definition_pb2.TaskSpec.FromString(request.task_spec).task_template
    if task.k8s_pod.data_config.enabled or (task.container.data_config.enabled and task.metadata.pod_template_name):
        raise Unplaceable(f"{request.task} is a container task with a pod template, which is not here")
    if not task.container.data_config.enabled:
        return None
    said = task.container.data_config
    if getattr(said, "file_input_layout", 0):
        raise Unplaceable(f"{request.task} asks for the layout NAMED_DIR of its inputs, which is not here")
    for variable in task.interface.outputs.variables:
        if unreadable(variable.value.type):
            raise Unplaceable(f"output {variable.key} of {request.task} is of a type that no container task gives here")
    return Raw(request, image, folder, task)


@dataclass(frozen=True, slots=True)
class Raw:
    """A container task's attempt: what the launcher does differently for it."""

    request: LaunchRequest
    image: ImageRoot
    folder: RunFolder
    task: tasks_pb2.TaskTemplate
    plain = False

    @property
    def _said(self) -> tasks_pb2.DataLoadingConfig:
        return self.task.container.data_config

    def placed(self, berth: Berth, ground: Ground, scratch: Path) -> Berth:
        """``berth`` with its inputs, in ``scratch``, and its arguments. Blocks. Raises :class:`Unplaceable`."""
        inputs, outputs = scratch / "inputs", scratch / "outputs"
        inputs.mkdir()
        outputs.mkdir()
        outputs.chmod(0o777)
        values = self._write(inputs)
        cwd = self.image.workdir or "/"
        argv = rendered(self.request.args, values)
        own = (
            Mount(inputs, self._said.input_path or "/var/inputs"),
            Mount(outputs, self._said.output_path or "/var/outputs", writable=True),
        )
        box = with_python(with_places(berth.box, scratch, own))
        return replace(berth, box=box, argv=argv or (*self.image.entrypoint, *self.image.command), cwd=cwd)

    def _write(self, inputs: Path) -> dict[str, Any]:
        """Write every input; each one's value, a file's as its place inside."""
        given = common_pb2.Inputs.FromString(self.folder.inputs(self.request.action).read_bytes())
        values: dict[str, Any] = {}
        with door.folder(inputs) as into:
            for named in given.literals:
                try:
                    values[named.name] = self._input(named.value, into, named.name)
                except (NotText, ValueError, OSError) as e:
                    raise Unplaceable(f"input {named.name} of {self.request.task}: {e}") from None
            if self._said.format == tasks_pb2.DataLoadingConfig.PROTO:
                whole = literals_pb2.LiteralMap(literals={n.name: n.value for n in given.literals})
                door.write(into, "inputs.pb", whole.SerializeToString(deterministic=True))
            else:
                # JSON is YAML.
                name = "inputs.yaml" if self._said.format == tasks_pb2.DataLoadingConfig.YAML else "inputs.json"
                door.write(into, name, json.dumps(values, ensure_ascii=False).encode())
        return values

    def _input(self, literal: literals_pb2.Literal, into: int, name: str) -> Any:
        place = f"{self._said.input_path or '/var/inputs'}/{name}"
        if literal.scalar.HasField("blob"):
            below = self.folder.storage.inside(literal.scalar.blob.uri)
            with door.folder(self.folder.storage.runs) as top:
                _copied(top, below, into, name)
            return place
        if literal.HasField("collection") and any(x.scalar.HasField("blob") for x in literal.collection.literals):
            door.make_folders(into, name)
            with door.folder_at(into, name) as held:
                return [
                    f"{place}/{n}" for n, x in enumerate(literal.collection.literals) if self._input(x, held, str(n))
                ]
        value = json_of(literal)
        door.write(into, name, text_of(value).encode())
        return value

    def end(self, outcome: Outcome, scratch: Path) -> Outcome:
        """Make the outputs of what the container left, where it ended well. Blocks."""
        if outcome.reason or outcome.exit_code:
            return outcome
        found = common_pb2.Outputs()
        with door.folder(scratch / "outputs") as top:
            for variable in self.task.interface.outputs.variables:
                inside = f"{self._said.output_path or '/var/outputs'}/{variable.key}"
                try:
                    literal = self._output(top, variable.key, variable.value.type, inside)
                except FileNotFoundError:
                    return _bad(f"it left no {inside}, which is its output {variable.key}")
                except (OSError, ValueError) as e:
                    return _bad(f"{inside}, its output {variable.key}: {e}")
                found.literals.append(common_pb2.NamedLiteral(name=variable.key, value=literal))
        attempt = self.folder.attempt(self.request.action, self.request.attempt)
        with (
            door.folder(self.folder.path) as top,
            door.folder_at(top, attempt.relative_to(self.folder.path).as_posix()) as into,
        ):
            door.write(into, OUTPUTS, found.SerializeToString(deterministic=True))
        return outcome

    def _output(self, top: int, name: str, kind: Any, inside: str) -> literals_pb2.Literal:
        if not kind.HasField("blob"):
            return literal_of(door.read(top, name, _MOST_TEXT).decode(), kind)
        if not door.is_there(top, name):
            raise FileNotFoundError(name)
        literal = literals_pb2.Literal()
        literal.scalar.blob.metadata.type.CopyFrom(kind.blob)
        # What it names is taken over with the message that names it.
        literal.scalar.blob.uri = inside
        return literal


def _bad(message: str) -> Outcome:
    return Outcome(1, "error", message, "BadOutputs", "user")


def _copied(top: int, below: str, into: int, name: str, depth: int = 0) -> None:
    """Copy a file, or a folder without links, ``below`` the open folder ``top``, to ``name`` in the open ``into``."""
    if not door.is_folder(top, below):
        with door.open_file(top, below) as source:
            door.copy_to(source, into, name)
        return
    if depth > _DEEP:
        raise ValueError(f"folders more than {_DEEP} deep in each other")
    door.make_folders(into, name)
    with door.folder_at(top, below) as held, door.folder_at(into, name) as target:
        for child in door.entries(held):
            with suppress(FileNotFoundError, door.Refused):
                _copied(held, child, target, child, depth + 1)


def rendered(argv: tuple[str, ...], values: Mapping[str, Any]) -> tuple[str, ...]:
    """``argv`` with every ``{{.inputs.NAME}}`` filled in; unknown ones stay as they are."""
    return tuple(_INPUT.sub(lambda m: text_of(values[m[1]]) if m[1] in values else m[0], word) for word in argv)
