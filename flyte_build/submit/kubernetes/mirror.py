"""A run's documents in object storage, where pods are, and the same files here, where the engine reads them.

Pods write to ``<storage>/<run>/meta`` and ``raw`` as a sandbox does to the run's folder; what an attempt left (outputs,
error, report) is fetched to the same place in the folder of this machine, bounded in size, and what the engine keeps is
copied within the storage and fetched. So the engine, the verdict and the journal are the same as for sandboxes, and the
bytes that tasks hand on never come through here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import from_url

from ...kernel.errors import InputError, RunError
from ...kernel.values import dataclass
from .. import door

__all__ = ["TRIES_IT", "Mirror", "Unreachable", "mirror_of"]

_SCHEMES = ("s3://", "s3a://", "gs://", "abfs://", "abfss://", "az://", "azure://", "adl://", "file:///")
# So many names a store gives in one answer.
_LISTED = 1000
_CONNECTION = ("allow_http", "allow_invalid_certificates")


TRIES_IT = "`flyte-build target check TARGET` tries the target's storage"


class Unreachable(RunError):
    """The storage does not answer, or refuses."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """``store`` holds under ``<run>/…`` what lies in ``runs`` (a folder) under the same names; ``url`` is its own."""

    url: str
    runs: Path
    store: Any

    def key(self, path: Path) -> str:
        """The object's key of a path below ``runs``; raises ``ValueError`` for any other."""
        here, top = str(path), f"{self.runs}/"
        if not here.startswith(top):
            raise ValueError(f"{here!r} is not below {top!r}")
        return here[len(top) :]

    async def up(self, path: Path) -> None:
        """Store a file of this machine; raises :class:`RunError`."""
        with _said(f"{self.url}/{self.key(path)}"):
            await obstore.put_async(self.store, self.key(path), path)

    async def down(self, path: Path, most: int = door.INLINE) -> bool:
        """Fetch the object of ``path`` to there, whole or not at all; whether there is one.

        Raises :class:`~..door.Refused` for one of more than ``most`` bytes, and :class:`RunError`.
        """
        key = self.key(path)
        with _said(f"{self.url}/{key}"):
            try:
                found = await obstore.get_async(self.store, key)
            except (NotFoundError, FileNotFoundError):
                return False
            if found.meta["size"] > most:
                raise door.Refused(f"{self.url}/{key} has {found.meta['size']:,} bytes, and may have {most:,}")
            data = await found.bytes_async()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(memoryview(data))
        os.replace(partial, path)
        return True

    async def copy(self, source: str, path: Path) -> None:
        """Store the object with the key ``source`` once more, under the name of ``path``, within the storage.

        Raises FileNotFoundError where there is none, and :class:`RunError`.
        """
        with _said(f"{self.url}/{source}"):
            try:
                await obstore.copy_async(self.store, source, self.key(path))
            except (NotFoundError, FileNotFoundError):
                raise FileNotFoundError(source) from None

    async def put(self, key: str, data: bytes, *, new: bool = False) -> None:
        """Store ``data``; with ``new``, raises FileExistsError where the key is taken. Raises :class:`RunError`."""
        with _said(f"{self.url}/{key}"):
            try:
                await obstore.put_async(self.store, key, data, mode="create" if new else "overwrite")
            except (AlreadyExistsError, FileExistsError):
                raise FileExistsError(key) from None

    async def get(self, key: str, most: int = door.INLINE) -> bytes | None:
        """The object's bytes; ``None`` where there is none. Raises as :meth:`down`."""
        with _said(f"{self.url}/{key}"):
            try:
                found = await obstore.get_async(self.store, key)
            except (NotFoundError, FileNotFoundError):
                return None
            if found.meta["size"] > most:
                raise door.Refused(f"{self.url}/{key} has {found.meta['size']:,} bytes, and may have {most:,}")
            return bytes(await found.bytes_async())

    async def has(self, key: str) -> bool:
        """Whether there is such an object, or anything below it as a folder."""
        with _said(f"{self.url}/{key}"):
            try:
                await obstore.head_async(self.store, key)
            except (NotFoundError, FileNotFoundError):
                return await self.any(self.runs / key)
            return True

    async def within(self, path: Path, most: int) -> None:
        """Raises :class:`~..door.Refused` where the object of ``path`` has more than ``most`` bytes, FileNotFoundError
        where there is none, and :class:`RunError`."""
        key = self.key(path)
        with _said(f"{self.url}/{key}"):
            try:
                size = (await obstore.head_async(self.store, key))["size"]
            except (NotFoundError, FileNotFoundError):
                raise FileNotFoundError(key) from None
            if size > most:
                raise door.Refused(f"{self.url}/{key} has {size:,} bytes, and may have {most:,}")

    async def sizes(self, folder: Path, names: Collection[str]) -> dict[str, int]:
        """How large the objects are that have one of ``names`` in ``folder``, of those that are there.

        One list tells of all; where a task has left so much there that it would be long, each is asked for.
        """
        prefix = f"{self.key(folder)}/"
        with _said(f"{self.url}/{prefix}"):
            async for page in obstore.list(self.store, prefix=prefix, chunk_size=_LISTED):
                if len(page) == _LISTED:
                    break
                told = {str(meta["path"]).removeprefix(prefix): int(meta["size"]) for meta in page}
                return {name: told[name] for name in names if name in told}
            else:
                return {}
        found: dict[str, int] = {}
        for name in names:
            with _said(f"{self.url}/{prefix}{name}"), contextlib.suppress(NotFoundError, FileNotFoundError):
                found[name] = int((await obstore.head_async(self.store, f"{prefix}{name}"))["size"])
        return found

    async def keys(self, prefix: str) -> dict[str, int]:
        """The keys below the folder ``prefix``, in their order, and how large each object is."""
        found: dict[str, int] = {}
        with _said(f"{self.url}/{prefix}/"):
            async for page in obstore.list(self.store, prefix=f"{prefix}/"):
                found |= {str(meta["path"]): int(meta["size"]) for meta in page}
        return dict(sorted(found.items()))

    async def delete(self, keys: list[str]) -> None:
        """They are there no more, whether or not they were."""
        if keys:
            with _said(f"{self.url}/{keys[0]}"), contextlib.suppress(NotFoundError, FileNotFoundError):
                await obstore.delete_async(self.store, keys)

    async def any(self, path: Path) -> bool:
        """Whether there is an object below the folder ``path``."""
        with _said(f"{self.url}/{self.key(path)}/"):
            listed = obstore.list(self.store, prefix=f"{self.key(path)}/", chunk_size=1)
            async for page in listed:
                return bool(page)
        return False


@contextlib.contextmanager
def _said(where: str) -> Any:
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except (BaseError, OSError) as e:
        if isinstance(e, door.Refused):
            raise
        words = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise Unreachable(f"{where}: {words}", hint=TRIES_IT) from None


def mirror_of(url: str, runs: Path, options: Mapping[str, str]) -> Mirror:
    """The storage ``url`` (``s3://bucket/prefix``, ``gs://``, ``abfs://``, ``file:///folder``).

    ``options`` are the object store's own words (``endpoint``, ``access_key_id``, …), besides its own variables. Raises
    :class:`InputError`.
    """
    if not url.startswith(_SCHEMES):  # what it does not know, obstore panics over
        raise _unusable(url, "a scheme that is none of an object store")
    connection: Any = {k: v == "true" for k, v in options.items() if k in _CONNECTION}
    settings: Any = {k: v for k, v in options.items() if k not in _CONNECTION}
    try:
        store = from_url(url, client_options=connection or None, **settings)
    except (BaseError, ValueError, TypeError) as e:
        raise _unusable(url, str(e).splitlines()[0]) from None
    return Mirror(url.rstrip("/"), runs, store)


def _unusable(url: str, why: str) -> InputError:
    return InputError(
        f"storage {url} cannot be used: {why}", hint="expected s3://BUCKET/PREFIX, gs://…, abfs://… or file:///FOLDER"
    )
