"""What a registry has, and does not see yet: of two uploads of one blob the later may hide it for a moment.

docker-registry writes a blob's link anew with every upload, and a manifest that arrives in between is refused with
MANIFEST_BLOB_UNKNOWN. So one client uploads a blob into a repository once at a time, and a manifest that is refused
for a blob which is there is sent again. Never uploads anything itself.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from .failures import StatusError, Transient
from .messages import Answer, Request
from .reference import Reference
from .values import Descriptor

if TYPE_CHECKING:
    from .transport import Transport

__all__ = ["Underway", "put_seen"]

_UNSEEN = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"})


_LATE = 2
"""How often a manifest is sent again for what the repository says that it has not: two pauses, some 1.5 s."""


class Registry(Protocol):
    """What is asked of :class:`flyte_build.registry.client.Registry`, which uses this."""

    transport: Transport

    def blob(self, ref: Reference, digest: str) -> int | None: ...

    def head(self, ref: Reference) -> Descriptor | None: ...


class Underway:
    """The uploads of one client: of those of one blob into one repository, one runs and the others wait."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._running: dict[tuple[str, str, str], tuple[threading.Lock, int]] = {}

    @contextmanager
    def alone(self, ref: Reference, digest: str) -> Iterator[None]:
        """Be the only one in it with this blob, or with the list that a tag names: read, added to, and written."""
        key = (ref.host, ref.repository, digest)
        with self._guard:
            lock, users = self._running.get(key, (threading.Lock(), 0))
            self._running[key] = lock, users + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._running.pop(key)
                if users > 1:
                    self._running[key] = lock, users - 1


def put_seen(registry: Registry, ref: Reference, request: Request, data: bytes) -> Answer:
    """Send the manifest ``data``; again, where it is refused for something that the repository has when it is asked,
    and a few times where that says no, too: registries of many machines may see an upload late."""
    late = 0

    def attempt() -> Answer:
        nonlocal late
        try:
            return registry.transport.send(request)
        except StatusError as e:
            there = _there(registry, ref, data) if not _UNSEEN.isdisjoint(e.codes) else None
            late += there is False
            if there is None or late > _LATE:
                raise
            raise Transient(e) from None

    return registry.transport.patience.insist(attempt)


def _there(registry: Registry, ref: Reference, data: bytes) -> bool | None:
    """Whether the repository has all that the manifest names; ``None`` where it names nothing."""
    try:
        document = json.loads(data)
        blobs = [d["digest"] for d in (*(document.get("layers") or ()), document.get("config")) if d]
        manifests = [d["digest"] for d in document.get("manifests") or ()]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if not blobs and not manifests:
        return None
    place = Reference(ref.host, ref.repository)
    return all(registry.blob(place, digest) is not None for digest in dict.fromkeys(blobs)) and all(
        registry.head(place.with_digest(digest)) is not None for digest in dict.fromkeys(manifests)
    )
