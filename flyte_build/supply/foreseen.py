"""Documents that are made while an image's layers travel, so that they are there when it is time to attach them.

To send layers is to wait; to make bills of materials anew is a quarter of a second of a processor.
What is made here are the bytes that :func:`~.documents.document` makes, of the same inventory; what nobody foresaw, or
of another inventory, is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from ..locks.nouns import Lock
from ..store import Store
from .components import Components
from .documents import document
from .packages import Inventory
from .provenance import Made

__all__ = ["OF_INVENTORY", "Foreseen"]

OF_INVENTORY = ("cyclonedx", "spdx")
"""The formats whose documents say nothing but what is in an inventory."""


class Foreseen:
    """Makes documents in one thread, from :meth:`begin` on; a context, at whose end what was not begun is let be."""

    def __init__(self, store: Store) -> None:
        self._parts = Components(store.root / "components")
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="documents")
        self._made: dict[tuple[str, Inventory], Future[bytes]] = {}

    def __enter__(self) -> Foreseen:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._parts.save()

    def begin(self, lock: Lock, images: Iterable[Inventory]) -> None:
        """Make the documents about ``images``, which are of ``lock``."""
        for image in images:
            for format in OF_INVENTORY:
                if (format, image) not in self._made:
                    self._made[format, image] = self._pool.submit(document, format, lock, image, None, self._parts)

    def document(self, format: str, lock: Lock, image: Inventory, made: Made | None = None) -> bytes:
        """As :func:`~.documents.document`, and raises what it raises."""
        foreseen = self._made.get((format, image))
        return document(format, lock, image, made, self._parts) if foreseen is None else foreseen.result()
