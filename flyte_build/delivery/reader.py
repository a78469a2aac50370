"""Reads a bundle's file from its beginning to its end, once: entry by entry, each verified before it is anyone's.

Nothing in the file decides where something is written or how long it may be: the index, read first, does, and it has
been checked. A header must be byte by byte the one that its entry has, so links, devices, other names, owners, sizes
or orders are not understood at all. Never writes, never seeks: the file may be a pipe.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NoReturn

from ..assemble.tar import BLOCK, END, padding
from ..kernel.errors import ArtifactError, InputError
from ..store.files import CHUNK
from .format import INDEX, LIMIT, Entry, Index, parse_index
from .tarball import head

__all__ = ["Reader"]

_MAGIC = slice(257, 263)
_SIZE = slice(124, 135)
_TYPE = slice(156, 157)
_TYPES = {b"1": "a hard link", b"2": "a symbolic link", b"5": "a folder", b"x": "an extended header"}
_AGAIN = "have the bundle made and sent again"


class Reader:
    """``source`` is read; ``path`` is for messages, ``advance`` hears of every byte of an entry, in pieces."""

    def __init__(self, source: BinaryIO, path: Path) -> None:
        self.advance: Callable[[int], object] = lambda n: None
        self._source = source
        self._path = path
        self._offset = 0

    def index(self) -> Index:
        """The index. Raises :class:`InputError` where the file is no bundle, or is of a later schema."""
        header = self._read(BLOCK)
        digits = header[_SIZE]
        if (
            len(header) < BLOCK
            or header[_MAGIC] != b"ustar\0"
            or not digits.isdigit()
            or b"8" in digits
            or b"9" in digits
        ):
            self._no_bundle()
        size = int(digits, 8)
        if header != head(INDEX, size):
            self._no_bundle()
        if size > LIMIT:
            raise ArtifactError(f"{self._path}: {INDEX}: expected at most {LIMIT} bytes, found {size}", hint=_AGAIN)
        data = self._exactly(size, INDEX)
        self._padding(size, INDEX)
        return parse_index(data, str(self._path))

    def data(self, entry: Entry) -> bytes:
        """The content of a small entry, verified."""
        pieces: list[bytes] = []
        self.copy(entry, pieces.append)
        return b"".join(pieces)

    def copy(self, entry: Entry, write: Callable[[bytes], object]) -> None:
        """The content of ``entry`` through ``write``, in pieces; what was written counts only when this returns.

        Raises :class:`ArtifactError` unless header, size and SHA-256 are those that the index says.
        """
        self._header(entry)
        digest = hashlib.sha256()
        left = entry.size
        while left:
            piece = self._exactly(min(left, CHUNK), entry.path)
            write(piece)
            digest.update(piece)
            left -= len(piece)
            self.advance(len(piece))
        if digest.hexdigest() != entry.sha256:
            self._fail(f"{entry.path}: expected SHA-256 {entry.sha256}, found {digest.hexdigest()}")
        self._padding(entry.size, entry.path)

    def end(self) -> None:
        """The end of the archive and of the file."""
        if self._exactly(len(END), "the end of the archive") != END or self._read(1):
            self._fail(f"expected its end after {self._offset} bytes, found more")

    def _header(self, entry: Entry) -> None:
        expected = head(entry.path, entry.size)
        found = self._exactly(len(expected), entry.path)
        if found != expected:
            kind = _TYPES.get(found[_TYPE])
            what = f"{kind} `{_name(found)}`" if kind else f"`{_name(found)}` with another size, owner, mode or time"
            self._fail(f"expected the file {entry.path} of {entry.size} bytes, found {what}")

    def _padding(self, size: int, path: str) -> None:
        expected = padding(size)
        if self._exactly(len(expected), path) != expected:
            self._fail(f"expected zeros after {path}, found something else")

    def _exactly(self, size: int, what: str) -> bytes:
        data = self._read(size)
        if len(data) < size:
            self._fail(f"it ends after {self._offset} bytes, in {what}: it was cut off")
        return data

    def _read(self, size: int) -> bytes:
        pieces: list[bytes] = []
        left = size
        try:
            while left and (piece := self._source.read(left)):
                pieces.append(piece)
                left -= len(piece)
        except OSError as e:
            raise InputError(f"{self._path}: cannot be read: {e.strerror or e}") from None
        self._offset += size - left
        return b"".join(pieces)

    def _fail(self, message: str) -> NoReturn:
        raise ArtifactError(f"{self._path}: {message}", hint=_AGAIN)

    def _no_bundle(self) -> NoReturn:
        raise InputError(
            f"{self._path}: expected a bundle, which begins with {INDEX}, found something else",
            hint="`flyte-build bundle FILE -o FILE.fbundle` writes one; podman, skopeo and Docker load images alone",
        )


def _name(header: bytes) -> str:
    return header[:100].split(b"\0")[0].decode("utf-8", "backslashreplace")
