"""A file whose bytes are hashed as they are read, for readers that must know whether what they read was whole."""

from __future__ import annotations

import hashlib
import io
from typing import BinaryIO

__all__ = ["HashedReader"]


class HashedReader(io.RawIOBase):
    """What is read of ``source`` passes through ``sha256``."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._source.read(len(buffer))
        self.sha256.update(data)
        buffer[: len(data)] = data
        return len(data)
