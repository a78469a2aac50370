"""Outputs of tasks with ``cache=``, found again by later runs.

An entry says which run's outputs answer a key; the bytes stay in that run. The key is flyte's own (task, interface,
inputs, cache version) together with the image's and the code's digests, so that a changed dependency is never answered
from before it. An entry whose outputs, or any file they lead to, are gone counts as none.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

from flyteidl2.task import common_pb2
from google.protobuf.message import DecodeError

from ..kernel import canonical
from ..kernel.documents import parse_object
from ..store.locks import try_acquire
from . import door
from .action import INLINE, OUTPUTS
from .references import references
from .storage import MOUNT, Storage

__all__ = ["TaskCache", "bundle_digest", "document", "intact", "key", "stored_outputs"]

POLL_SECONDS = 0.1


def key(cache_key: str, image: str, bundle: str) -> str:
    """The entry's name: hex."""
    return canonical.digest({"key": cache_key, "image": image, "bundle": bundle}).removeprefix("sha256:")


class TaskCache:
    """Entries in ``folder``, about outputs in ``storage``. Safe for several processes."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        self._folder = folder
        self._storage = storage

    def find(self, name: str, *, has_outputs: bool, max_age: float | None) -> str | None:
        """The URI of the folder with the outputs, or None. ``max_age`` in seconds."""
        try:
            entry = parse_object((self._folder / name).read_bytes())
            uri, made = str(entry["output_uri"]), float(entry["at"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if max_age is not None and time.time() - made > max_age:
            return None
        return uri if not has_outputs or intact(uri, self._storage) else None

    def put(self, name: str, output_uri: str) -> None:
        """Remember; the newest wins. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".")
        try:
            with os.fdopen(handle, "w") as f:
                json.dump({"output_uri": output_uri, "at": time.time()}, f)
                f.flush()
                os.fsync(f.fileno())
            os.replace(temporary, self._folder / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        """Only one computation of the key at a time, on this machine (``Cache(serialize=True)``)."""
        folder = self._folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        while (handle := try_acquire(folder / name)) is None:
            await asyncio.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            os.close(handle)


def stored_outputs(uri: str, storage: Storage) -> common_pb2.Outputs | None:
    """The outputs in the file ``uri``, which an earlier run may have left; ``None`` where they are none."""
    try:
        return common_pb2.Outputs.FromString(document(uri, storage))
    except (OSError, ValueError, DecodeError):
        return None


def document(uri: str, storage: Storage) -> bytes:
    """What is in the inputs or outputs ``uri``, of this run or an earlier one. Raises OSError, ValueError."""
    below = storage.inside(uri)
    # What a run has kept was held against its task's own bound, when it was taken over.
    limit = door.LARGEST if below.split("/")[1:2] == ["kept"] else INLINE
    with door.folder(storage.runs) as runs:
        return door.read(runs, below, limit)


def intact(uri: str, storage: Storage) -> bool:
    """Whether outputs.pb in the folder ``uri`` is there and readable, and with it every file it leads to."""
    found = stored_outputs(f"{uri}/{OUTPUTS}", storage)
    if found is None:
        return False
    try:
        with door.folder(storage.runs) as runs:
            return all(door.exists(runs, storage.inside(u)) for u in references(found) if _is_local(u))
    except (OSError, ValueError):
        return False


def _is_local(uri: str) -> bool:
    return PurePosixPath(uri.removeprefix("file://")).is_relative_to(MOUNT)


def bundle_digest(path: Path) -> str:
    """The digest of the code in a bundle: of the tar stream, because gzip's header has a file name in it."""
    sha = hashlib.sha256()
    with gzip.open(path, "rb") as f:
        while block := f.read(1 << 20):
            sha.update(block)
    return f"sha256:{sha.hexdigest()}"
