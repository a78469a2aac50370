"""A wheel's METADATA and size without the wheel: its PEP 658 file, else a few ranges of the archive.

The end of a zip holds its directory, and a wheel's ``.dist-info`` lies right before it (binary
distribution format, "Recommended archiver features"), so that one request for the tail is mostly enough.
What is read here decides which requirements a wheel has, never which bytes are installed.
"""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_string
from email.policy import compat32

__all__ = [
    "LONGEST",
    "WheelMetadata",
    "damage",
    "entries",
    "from_archive",
    "members",
    "opened",
    "parse",
    "read_text",
    "with_entries",
]

TAIL = 64 << 10
LONGEST = 4 << 20
"""Bytes that METADATA may have; the largest of a real wheel is some hundred kilobytes."""
# A zip archive's directory has some hundred bytes a file.
_DIRECTORY = 64 << 20
_OTHERS = "no specification of wheels allows that so far (Zstandard, say); ask for a version with another wheel"
# What ``zipfile`` raises for an archive that is none, or of a kind that no wheel is.
_DAMAGE = (
    ValueError, EOFError, RuntimeError, OverflowError, IndexError, zlib.error, struct.error,
    lzma.LZMAError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WheelMetadata:
    """What locking needs of a wheel: ``size`` in bytes, its hash, and the requirements it states (PEP 508)."""

    sha256: str
    size: int
    requires: tuple[str, ...]
    requires_python: str | None


def parse(text: str) -> tuple[tuple[str, ...], str | None]:
    """``Requires-Dist`` and ``Requires-Python`` of a METADATA file (core metadata specification)."""
    message = message_from_string(text, policy=compat32)
    requires = tuple(" ".join(str(r).split()) for r in message.get_all("Requires-Dist", []))
    python = message.get("Requires-Python")
    return requires, str(python).strip() if python else None


class _Ranges(io.RawIOBase):
    """A read-only file whose bytes are fetched when ``zipfile`` asks for them."""

    def __init__(self, size: int, tail: bytes, read_range: Callable[[int, int], bytes]) -> None:
        self._size, self._at = size, 0
        self._parts: list[tuple[int, bytes]] = [(size - len(tail), tail)]
        self._read_range = read_range

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        at = {0: 0, 1: self._at, 2: self._size}[whence] + offset
        if at < 0:
            raise zipfile.BadZipFile(f"it speaks of byte {at}")
        self._at = at
        return at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        start = self._at
        if start >= end:
            return b""
        for begin, part in self._parts:
            if begin <= start and end <= begin + len(part):
                self._at = end
                return part[start - begin : end - begin]
        if end - start > _DIRECTORY:
            raise zipfile.BadZipFile(f"expected a directory of at most {_DIRECTORY} bytes, found {end - start}")
        begin, stop = max(0, start - 256), min(self._size, max(end, start + (16 << 10)))
        part = self._read_range(begin, stop)
        if len(part) != stop - begin:
            raise zipfile.BadZipFile(f"expected {stop - begin} bytes from {begin}, found {len(part)}")
        self._parts.append((begin, part))
        self._at = end
        return part[start - begin : end - begin]


def from_archive(size: int, tail: bytes, read_range: Callable[[int, int], bytes]) -> str:
    """METADATA's text out of a wheel of ``size`` bytes that ends in ``tail``; ``read_range(start, stop)``
    fetches other bytes. Raises ``zipfile.BadZipFile`` or ``KeyError`` where it is not a wheel."""
    return with_entries(size, tail, read_range)[0]


def with_entries(size: int, tail: bytes, read_range: Callable[[int, int], bytes]) -> tuple[str, list[str]]:
    """:func:`from_archive` and :func:`entries` of one look."""
    with opened(size, tail, read_range) as archive:
        names = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA")]
        if len(names) != 1:
            raise KeyError(f"expected one .dist-info/METADATA, found {len(names)}")
        return read_text(archive, names[0]), _entries(archive)


def read_text(archive: zipfile.ZipFile, name: str) -> str:
    """A member that is a text and has a bound, :data:`LONGEST`, whatever its archive says."""
    with archive.open(name) as f:
        data = f.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise zipfile.BadZipFile(f"{name}: expected at most {LONGEST} bytes, found more")
    return data.decode("utf-8")


@contextmanager
def damage() -> Iterator[None]:
    """Whatever is wrong with a zip archive is a ``zipfile.BadZipFile``."""
    try:
        yield
    except UnicodeDecodeError as e:
        raise zipfile.BadZipFile(f"expected UTF-8: {e}") from None
    except NotImplementedError as e:
        raise zipfile.BadZipFile(f"{e}: {_OTHERS}") from None
    except _DAMAGE as e:
        raise zipfile.BadZipFile(str(e) or type(e).__name__) from None
    except OSError as e:
        if e.errno is not None:  # a disk's
            raise
        raise zipfile.BadZipFile(str(e)) from None


@contextmanager
def opened(size: int, tail: bytes, read_range: Callable[[int, int], bytes]) -> Iterator[zipfile.ZipFile]:
    with damage(), zipfile.ZipFile(_Ranges(size, tail, read_range)) as archive:
        yield archive


def members(size: int, tail: bytes, read_range: Callable[[int, int], bytes]) -> list[str]:
    """The names of a zip archive's members out of its directory alone; arguments and errors as :func:`from_archive`."""
    with opened(size, tail, read_range) as archive:
        return archive.namelist()


def entries(size: int, tail: bytes, read_range: Callable[[int, int], bytes]) -> list[str]:
    """The same with what identifies the content, as ``<crc-32> <size>`` and a tab before the name."""
    with opened(size, tail, read_range) as archive:
        return _entries(archive)


def _entries(archive: zipfile.ZipFile) -> list[str]:
    return [f"{info.CRC:08x} {info.file_size}\t{info.filename}" for info in archive.infolist()]
