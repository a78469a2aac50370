"""The bytes of a blob on their way out: read from any offset, hashed once, held back where they are others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from ..kernel.errors import RegistryError

__all__ = ["Outgoing"]

_PIECE = 1 << 18


class Outgoing:
    """``source(offset)`` opens the bytes from ``offset``; ``advance`` hears of each byte once, though sent twice."""

    def __init__(
        self, digest: str, size: int, source: Callable[[int], BinaryIO], advance: Callable[[int], object]
    ) -> None:
        self.digest = digest
        self.size = size
        self._source = source
        self._advance = advance
        self._hash = hashlib.new(digest.partition(":")[0])
        self._hashed = 0
        self._told = 0

    @property
    def sent(self) -> int:
        """How far the bytes have been read; no more than these can be with a registry."""
        return self._hashed

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from ``start`` to ``end``. The last piece of the blob comes only if all of it has the digest.

        Raises :class:`RegistryError` where the source ends early or holds other bytes: what was sent is then
        incomplete, and no registry commits it.
        """
        at = start
        if at == end == self.size:
            self._check()
            return
        with self._source(start) as file:
            while at < end:
                piece = file.read(min(_PIECE, end - at))
                if not piece:
                    raise RegistryError(
                        f"blob {self.digest}: expected {self.size} bytes here, found {at}",
                        hint="the local copy is truncated: build it again",
                    )
                at += len(piece)
                if at > self._hashed:
                    self._hash.update(piece[len(piece) - (at - self._hashed) :])
                    self._hashed = at
                if at == self.size:
                    self._check()
                yield piece
                self.tell(at)

    def tell(self, position: int) -> None:
        """All bytes before ``position`` are accounted for."""
        if position > self._told:
            self._advance(position - self._told)
            self._told = position

    def _check(self) -> None:
        found = f"{self.digest.partition(':')[0]}:{self._hash.copy().hexdigest()}"
        if found != self.digest:
            raise RegistryError(
                f"blob {self.digest}: the local bytes are {found}: not pushed",
                hint="the local copy is corrupt: build it again",
            )
