"""Documents that are made, and sent, while an image's layers travel, so that they are there when it is time to attach
them.

To send layers is to wait; to make bills of materials anew is a quarter of a second of a processor, and each document is
three or four requests. What is made here are the bytes that :func:`~.documents.document` makes, of the same inventory;
what nobody foresaw, or of another inventory, is made when it is asked for. What could not be sent is sent then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from ..kernel.errors import FlyteBuildError
from ..kernel.values import replace
from ..locks.nouns import Lock
from ..registry.reference import Reference
from ..registry.values import digest_of
from ..store import Store
from .artifact_metadata import StoredFacts
from .components import Components
from .documents import document, sent
from .packages import Inventory, inventory
from .provenance import Made
from .pushing import push_bytes

if TYPE_CHECKING:
    from ..registry.client import Registry

__all__ = ["OF_INVENTORY", "Foreseen"]

OF_INVENTORY = ("cyclonedx", "spdx")
"""The formats whose documents say nothing but what is in an inventory."""


Posted: TypeAlias = tuple[Reference, str, str]
"""What is sent: to which repository, about which manifest, in which format (``""``: the empty config)."""

# As many as an image has documents.
_POSTMEN = 4


class Foreseen:
    """Makes documents in one thread, and sends them in others; a context, at whose end what was not begun is let be.

    ``facts`` are those of artifacts that all who use it have.
    """

    def __init__(self, store: Store) -> None:
        self.facts = StoredFacts(store)
        self._parts = Components(store.root / "components")
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="documents")
        self._postman = ThreadPoolExecutor(_POSTMEN, thread_name_prefix="documents-sent")
        self._ahead: list[Future[None]] = []
        self._about: dict[tuple[str, str, str], tuple[Lock, Inventory]] = {}
        self._made: dict[tuple[str, Inventory], Future[bytes]] = {}
        self._posted: dict[Posted, Future[None]] = {}
        self._sent: set[tuple[Reference, str]] = set()

    def __enter__(self) -> Foreseen:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._postman.shutdown(wait=False, cancel_futures=True)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._postman.shutdown(wait=True)
        self._parts.save()

    # -- what is made --------------------------------------------------------------------------------

    def later(self, function: Callable[[], None]) -> None:
        """Call ``function`` there, which begins documents. What it raises is met by whoever does the same."""
        self._ahead.append(self._pool.submit(function))

    def begin(self, lock: Lock, images: Iterable[Inventory]) -> None:
        """Make the documents about ``images``, which are of ``lock``."""
        for image in images:
            for format in OF_INVENTORY:
                if (format, image) not in self._made:
                    self._made[format, image] = self._pool.submit(_sent, format, lock, image, None, self._parts)

    def document(self, format: str, lock: Lock, image: Inventory, made: Made | None = None) -> bytes:
        """As :func:`~.documents.document`, as registries have it, and raises what that raises."""
        wait(self._ahead)
        foreseen = self._made.get((format, image))
        return _sent(format, lock, image, made, self._parts) if foreseen is None else foreseen.result()

    def inventory(self, lock: Lock, platform: str, digest: str) -> Inventory:
        """As :func:`~.packages.inventory`, of the facts that are in the store."""
        key = lock.environment, platform, digest
        known = self._about.get(key)
        if known is not None and replace(known[0], pins={}) == replace(lock, pins={}):
            return known[1]
        found = inventory(lock, platform, digest=digest, facts=self.facts)
        self._about[key] = lock, found
        return found

    # -- what is sent --------------------------------------------------------------------------------

    def post(self, registry: Registry, what: Posted, make: Callable[[], bytes], media_type: str) -> None:
        """Send what ``make`` gives, which :meth:`push` will find sent."""

        def send() -> None:
            try:
                self._push(registry, what[0], make(), media_type)
            except FlyteBuildError:
                # Whoever needs it there hears why it cannot be.
                self._postman.shutdown(wait=False, cancel_futures=True)

        self._posted[what] = self._postman.submit(send)

    def push(self, registry: Registry, what: Posted, data: bytes, media_type: str) -> dict[str, Any]:
        """As :func:`~.pushing.push_bytes`; what was sent, or is just being, is not asked for again."""
        if what in self._posted:
            wait([self._posted[what]])
        return self._push(registry, what[0], data, media_type)

    def _push(self, registry: Registry, repository: Reference, data: bytes, media_type: str) -> dict[str, Any]:
        digest = digest_of(data)
        if (repository, digest) in self._sent:
            return {"mediaType": media_type, "digest": digest, "size": len(data)}
        found = push_bytes(registry, repository, data, media_type)
        self._sent.add((repository, digest))
        return found


def _sent(format: str, lock: Lock, image: Inventory, made: Made | None, parts: Components) -> bytes:
    return sent(document(format, lock, image, made, parts))
