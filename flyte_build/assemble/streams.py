"""Threads that hash and write what another thread makes, in batches, so that neither waits for each small piece.

``hashlib`` and file writes let go of the interpreter lock, so these run beside the thread that inflates. An
error in one is raised in the thread that feeds it, at the latest when its ``with`` block ends.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, NamedTuple, TypeVar

from .entries import Hash
from .errors import AssembleError

__all__ = ["Expected", "Stream", "Verifier"]

# Large, because each batch is two changes of thread, and small enough for memory: at most four exist of a stream.
_BATCH = 1 << 20
# The first is small, so that the threads of a small layer work at the same time at all; each is twice the last.
_FIRST = 64 << 10
_SMALL = 128 << 10

T = TypeVar("T")


class _Worker(Generic[T]):
    """A thread that is handed lists of parts; at most two lists wait for it, so memory stays flat."""

    def __init__(self) -> None:
        self._parts: list[T] = []
        self._pending = 0
        self._limit = _FIRST
        self._queue: queue.Queue[list[T] | None] = queue.Queue(2)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._queue.put(None)
            self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def add(self, part: T) -> None:
        """Append ``part``."""
        self._parts.append(part)
        self._grow(len(part) if isinstance(part, bytes) else 0)

    def extend(self, parts: list[T]) -> None:
        """Append ``parts``."""
        self._parts += parts
        self._grow(sum(len(part) for part in parts if isinstance(part, bytes)))

    def _grow(self, size: int) -> None:
        self._pending += size
        if self._pending >= self._limit:
            self._limit = min(2 * self._limit, _BATCH)
            self.flush()

    def flush(self) -> None:
        """Hand over what there is; raises what went wrong before."""
        if self._error is not None:
            raise self._error
        self._queue.put(self._parts)
        self._parts, self._pending = [], 0

    def _run(self) -> None:
        while (parts := self._queue.get()) is not None:
            if self._error is not None:
                continue  # what is fed until the feeder learns of it
            try:
                self.take(parts)
            except BaseException as e:
                self._error = e

    def take(self, parts: list[T]) -> None:
        raise NotImplementedError


class Stream(_Worker[bytes]):
    """A stream of bytes, hashed with SHA-256 and written where there is where to; ``progress`` is told its growth."""

    def __init__(
        self,
        write: Callable[[memoryview], int] | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        super().__init__()
        self._write = write
        self._progress = progress
        self._hash = hashlib.sha256()
        self.size = 0

    def flush(self) -> None:
        grown = self._pending
        self.size += grown
        super().flush()
        if self._progress is not None:
            self._progress(grown)

    def take(self, parts: list[bytes]) -> None:
        for data in _coalesced(parts):
            self._hash.update(data)
            if self._write is not None:
                rest = memoryview(data)
                while rest:  # an unbuffered file may take less than it is given
                    rest = rest[self._write(rest) :]

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of all of it; after the ``with`` block."""
        return "sha256:" + self._hash.hexdigest()


def _coalesced(parts: list[bytes]) -> Iterator[bytes]:
    """``parts`` with small neighbours joined; large ones are not worth a copy."""
    small: list[bytes] = []
    for part in parts:
        if len(part) < _SMALL:
            small.append(part)
            continue
        if small:
            yield b"".join(small)
            small = []
        yield part
    if small:
        yield b"".join(small)


class Expected(NamedTuple):
    """What the bytes of one file must hash to, and what messages call the file."""

    hash: Hash
    path: str
    artifact: str

    def check(self, found: bytes) -> None:
        """Raises :class:`AssembleError` unless ``found`` is the digest."""
        algorithm, digest = self.hash
        if found != digest:
            raise AssembleError(
                f"`{self.path}`: expected {algorithm} {digest.hex()}, found {found.hex()}", self.artifact
            )


class Verifier(_Worker["bytes | Expected | None"]):
    """Checks the hashes of files, one after the other: what is expected, the file's bytes, ``None``."""

    def __init__(self) -> None:
        super().__init__()
        self._expected: Expected | None = None
        self._hash = hashlib.sha256()

    def take(self, parts: list[bytes | Expected | None]) -> None:
        for part in parts:
            if isinstance(part, bytes):
                self._hash.update(part)
            elif part is not None:
                self._expected = part
                self._hash = hashlib.new(part.hash[0])
            elif self._expected is not None:
                self._expected.check(self._hash.digest())
