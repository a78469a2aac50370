"""What runs before and after a container task's own container, in the image of drivers: brings inputs, takes outputs.

It believes nothing of what lies in the folder of outputs: that is opened through the door, and links lead nowhere. A
file that is missing, or no value of its type, is the task's failure, which is told as any: by ``error.pb``.

    python -m flyte_build.submit.kubernetes.carrying inputs|outputs
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import obstore
from flyteidl2.core import execution_pb2, tasks_pb2
from flyteidl2.task import common_pb2
from obstore.exceptions import NotFoundError

from ...kernel.errors import FlyteBuildError
from .. import door
from ..action import ERROR, OUTPUTS
from ..pods.raw_files import BadOutput, inputs_of, outputs_in, places
from .container_task import CARRY
from .errors import Unplaceable
from .mirror import Mirror, mirror_of

__all__ = ["bring_inputs", "main", "take_outputs"]

_DEEP = 100


def main() -> int:
    told = json.loads(os.environ[CARRY])
    task = tasks_pb2.TaskTemplate.FromString(base64.b64decode(told["template"]))
    inputs, outputs = places(task.container.data_config)
    try:
        store = mirror_of(told["storage"], Path("/"), told["options"])
        if sys.argv[1:] == ["inputs"]:
            bring_inputs(store, told, task, Path(inputs))
        else:
            take_outputs(store, told, task, Path(outputs))
    except (FlyteBuildError, Unplaceable) as e:
        sys.stderr.write(f"error: {e}\n")
        return 1
    return 0


def bring_inputs(store: Mirror, told: Mapping[str, Any], task: tasks_pb2.TaskTemplate, folder: Path) -> None:
    """Write what the attempt has as inputs to ``folder``. Raises :class:`Unplaceable`, and what the storage raises."""
    data = bytes(obstore.get(store.store, told["inputs"]).bytes())

    def bring(uri: str, into: int, name: str) -> None:
        there, key = _whose(store, uri, told["options"])
        _fetch(there.store, key, into, name)

    with door.folder(folder) as into:
        inputs_of(common_pb2.Inputs.FromString(data), task.container.data_config, into, bring, told["task"])


def _whose(store: Mirror, uri: str, options: Mapping[str, str]) -> tuple[Mirror, str]:
    """The store that has ``uri``, and its key there: the run's own, or another of the same kind."""
    if uri.startswith(f"{store.url}/"):
        return store, uri.removeprefix(f"{store.url}/")
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return mirror_of(f"{scheme}://{bucket}", Path("/"), options), key


def _fetch(store: Any, key: str, into: int, name: str) -> None:
    """A file, or a folder of all that lies below ``key``, as ``name``. Raises FileNotFoundError."""
    try:
        _save(obstore.get(store, key), into, name)
    except (NotFoundError, FileNotFoundError):
        prefix, found = f"{key.rstrip('/')}/", False
        for page in obstore.list(store, prefix=prefix):
            for meta in page:
                found = True
                below = f"{name}/{str(meta['path']).removeprefix(prefix)}"
                folder, _, last = below.rpartition("/")
                if ".." in below.split("/"):
                    raise ValueError(f"{meta['path']} of the storage is no place in a folder") from None
                door.make_folders(into, folder)
                with door.folder_at(into, folder) as held:
                    _save(obstore.get(store, str(meta["path"])), held, last)
        if not found:
            raise FileNotFoundError(f"the storage has no {key}") from None


def _save(found: Any, into: int, name: str) -> None:
    with door.new_file(into, name) as handle:
        for block in found.stream():
            view = memoryview(block)
            while view:
                view = view[os.write(handle, view) :]


def take_outputs(store: Mirror, told: Mapping[str, Any], task: tasks_pb2.TaskTemplate, folder: Path) -> None:
    """Store what is in ``folder`` as the attempt's outputs, or why it is none. Raises what the storage raises."""
    with door.folder(folder) as top:

        def stored(name: str, inside: str) -> str:
            key = f"{told['data']}/{name}"
            _store(store.store, key, top, name)
            return f"{store.url}/{key}"

        try:
            document = outputs_in(top, task, stored).SerializeToString(deterministic=True)
        except BadOutput as e:
            sys.stderr.write(f"error: {e}\n")
            error = execution_pb2.ContainerError(
                code="BadOutputs", message=str(e), kind=execution_pb2.ContainerError.NON_RECOVERABLE,
                origin=execution_pb2.ExecutionError.USER,
            )  # fmt: skip
            failed = execution_pb2.ErrorDocument(error=error).SerializeToString(deterministic=True)
            obstore.put(store.store, f"{told['attempt']}/{ERROR}", failed)
            return
    obstore.put(store.store, f"{told['attempt']}/{OUTPUTS}", document)


def _store(store: Any, key: str, top: int, below: str, depth: int = 0) -> None:
    """Store a file, or all files of a folder, ``below`` the open folder ``top``; what is neither is left where it is
    in a folder. Raises OSError for anything else that is an output by itself."""
    if not door.is_folder(top, below):
        with door.open_file(top, below) as source, os.fdopen(os.dup(source), "rb") as f:
            obstore.put(store, key, f)
        return
    if depth > _DEEP:
        raise ValueError(f"folders more than {_DEEP} deep in each other")
    with door.folder_at(top, below) as held:
        for child in door.entries(held):
            with suppress(FileNotFoundError, door.Refused):
                _store(store, f"{key}/{child}", held, child, depth + 1)


if __name__ == "__main__":
    sys.exit(main())
