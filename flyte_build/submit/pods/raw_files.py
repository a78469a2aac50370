"""Inputs and outputs of a container task as files, by Flyte's convention for raw containers, wherever it runs.

Each input is a file (a folder of files, for a list of files), and all of them are in ``inputs.json`` beside; each
output is a file. Where files of tasks come from and go to is for whoever calls: a run's folder here, object storage
on a cluster. What a container left is opened through the door alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flyteidl2.core import literals_pb2, tasks_pb2
from flyteidl2.task import common_pb2

from .. import door
from ..kubernetes.errors import Unplaceable
from ..template import loading_of
from .raw_values import NotText, json_of, literal_of, text_of, unreadable

__all__ = ["BadOutput", "Bring", "check_raw", "inputs_of", "outputs_in", "places", "rendered", "values_of"]

Bring = Callable[[str, int, str], None]
"""Copies what is at a URI to a name in an open folder."""
INPUTS, OUTPUTS = "/var/inputs", "/var/outputs"
_INPUT = re.compile(r"\{\{\s*\.inputs\.(\w+)\s*\}\}")
_MOST_TEXT = 10 << 20


class BadOutput(Exception):
    """What the container left is not what its task says, in words."""


def check_raw(task: tasks_pb2.TaskTemplate, name: str) -> bool:
    """Whether ``task`` is a container task. Raises :class:`Unplaceable` for one that no launcher of ours runs."""
    said = loading_of(task)
    if said is None:
        return False
    if getattr(said, "file_input_layout", 0):
        raise Unplaceable(f"{name} asks for the layout NAMED_DIR of its inputs, which is not here")
    for variable in task.interface.outputs.variables:
        if unreadable(variable.value.type):
            raise Unplaceable(f"output {variable.key} of {name} is of a type that no container task gives here")
    return True


def places(said: tasks_pb2.DataLoadingConfig) -> tuple[str, str]:
    """The folders of inputs and outputs, as the container sees them."""
    return said.input_path or INPUTS, said.output_path or OUTPUTS


def values_of(given: common_pb2.Inputs, said: tasks_pb2.DataLoadingConfig, task: str) -> dict[str, Any]:
    """Each input's value, a file's as its place inside. Raises :class:`Unplaceable` for one that is no text."""
    top = places(said)[0]
    found = {}
    for one in given.literals:
        with _told(one.name, task):
            found[one.name] = _value(one.value, f"{top}/{one.name}")
    return found


@contextmanager
def _told(name: str, task: str) -> Iterator[None]:
    try:
        yield
    except (NotText, ValueError, OSError) as e:
        raise Unplaceable(f"input {name} of {task}: {e}") from None


def _is_file(literal: literals_pb2.Literal) -> bool:
    return bool(literal.scalar.HasField("blob"))


def _value(literal: literals_pb2.Literal, place: str) -> Any:
    if _is_file(literal):
        return place
    if literal.HasField("collection") and any(map(_is_file, literal.collection.literals)):
        return [_value(one, f"{place}/{n}") for n, one in enumerate(literal.collection.literals)]
    return json_of(literal)


def inputs_of(
    given: common_pb2.Inputs, said: tasks_pb2.DataLoadingConfig, into: int, bring: Bring, task: str
) -> dict[str, Any]:
    """Write every input to the open folder ``into``; what :func:`values_of` gives. Raises as that does."""
    values = values_of(given, said, task)
    for one in given.literals:
        with _told(one.name, task):
            _write(one.value, values[one.name], into, one.name, bring)
    if said.format == tasks_pb2.DataLoadingConfig.PROTO:
        whole = literals_pb2.LiteralMap(literals={n.name: n.value for n in given.literals})
        door.write(into, "inputs.pb", whole.SerializeToString(deterministic=True))
    else:
        # JSON is YAML.
        name = "inputs.yaml" if said.format == tasks_pb2.DataLoadingConfig.YAML else "inputs.json"
        door.write(into, name, json.dumps(values, ensure_ascii=False).encode())
    return values


def _write(literal: literals_pb2.Literal, value: Any, into: int, name: str, bring: Bring) -> None:
    if _is_file(literal):
        bring(literal.scalar.blob.uri, into, name)
    elif literal.HasField("collection") and any(map(_is_file, literal.collection.literals)):
        door.make_folders(into, name)
        with door.folder_at(into, name) as held:
            for number, one in enumerate(literal.collection.literals):
                _write(one, value[number], held, str(number), bring)
    else:
        door.write(into, name, text_of(value).encode())


def outputs_in(top: int, task: tasks_pb2.TaskTemplate, uri: Callable[[str, str], str]) -> common_pb2.Outputs:
    """The outputs that lie in the open folder ``top``.

    ``uri`` gives, for an output that is a file or a folder and the place where the container has it, what names it from
    then on. Raises :class:`BadOutput`.
    """
    found = common_pb2.Outputs()
    folder = places(task.container.data_config)[1]
    for variable in task.interface.outputs.variables:
        inside = f"{folder}/{variable.key}"
        try:
            literal = _output(top, variable.key, variable.value.type, inside, uri)
        except FileNotFoundError:
            raise BadOutput(f"it left no {inside}, which is its output {variable.key}") from None
        except (OSError, ValueError) as e:
            raise BadOutput(f"{inside}, its output {variable.key}: {e}") from None
        found.literals.append(common_pb2.NamedLiteral(name=variable.key, value=literal))
    return found


def _output(top: int, name: str, kind: Any, inside: str, uri: Callable[[str, str], str]) -> literals_pb2.Literal:
    if not kind.HasField("blob"):
        return literal_of(door.read(top, name, _MOST_TEXT).decode(), kind)
    if not door.is_there(top, name):
        raise FileNotFoundError(name)
    literal = literals_pb2.Literal()
    literal.scalar.blob.metadata.type.CopyFrom(kind.blob)
    literal.scalar.blob.uri = uri(name, inside)
    return literal


def rendered(argv: tuple[str, ...], values: Mapping[str, Any]) -> tuple[str, ...]:
    """``argv`` with every ``{{.inputs.NAME}}`` filled in; unknown ones stay as they are."""
    return tuple(_INPUT.sub(lambda m: text_of(values[m[1]]) if m[1] in values else m[0], word) for word in argv)
