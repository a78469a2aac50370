"""A layer's blob, made by a stranger → its members, one after the other: the one place that knows what may be in one.

``tarfile`` reads it as a stream. What makes it hang, hold a whole header's gigabytes, or take a damaged header for
the archive's end is refused first, and so is what no file system has or a terminal obeys. Never writes a file.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO, NoReturn, Self, cast

from isal import igzip, isal_zlib

from .visible import CONTROL

__all__ = [
    "DEPTH",
    "GZIP",
    "NOTES",
    "OPAQUE",
    "WHITEOUT",
    "ZSTD",
    "BadLayer",
    "LayerTar",
    "damage",
    "most_inflated",
    "plain_path",
    "whiteout",
]

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
NOTES = ".wh..wh."
"""How names begin that hide nothing: notes of the file system under Docker's first layers, which everyone skips."""
_CHUNK = 1 << 20
# Longer headers, or more members, are in no image that anybody made on purpose.
_HEADER = 1 << 20
_GLOBAL = 1 << 16
_MEMBERS = 1 << 22
_MOST, _RATIO = 16 << 30, 64
_NAME, _PATH, DEPTH = 255, 4000, 256
# How often the end is read: a few times by tarfile, for a stream that is whole.
_ENDS = 64
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, b"X", tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_DAMAGE = (tarfile.TarError, EOFError, cast("type[Exception]", isal_zlib.error))
# int() of thousands of digits, a date that is none, headers that call for headers a thousand times.
_NONSENSE = (*_DAMAGE, ValueError, OverflowError, RecursionError, IndexError, TypeError)


class BadLayer(Exception):
    """The blob is no layer, is damaged, or is hostile; the message says how, callers say which."""


def most_inflated(size: int) -> int:
    """Bytes of tar that a blob of ``size`` may unpack to, where nobody has said how many: beyond that it is a bomb."""
    return max(_MOST, _RATIO * size)


class _Header(tarfile.TarInfo):
    """A header that is read or refused, never passed over."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0:
            raise tarfile.ReadError(f"the member {found.name!r} has {found.size} bytes")
        most = _GLOBAL if found.type == tarfile.XGLTYPE else _HEADER
        if found.type in _EXTENDED and found.size > most:
            raise tarfile.ReadError(f"an extended header of {found.size} bytes, expected at most {most}")
        if found.type == tarfile.GNUTYPE_SPARSE:
            found._sparse()
        return found

    def _sparse(self, *_: object) -> NoReturn:
        """No builder of images writes them, and a kilobyte of one can be any number of holes."""
        raise tarfile.ReadError(f"the member {self.name!r} is a sparse file")

    # What tarfile calls where a pax header speaks of holes.
    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _sparse

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.TruncatedHeaderError as e:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"it is cut off: {e}") from None
        except tarfile.InvalidHeaderError as e:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"a header is damaged: {e}") from None


class LayerTar:
    """The layer in ``raw``, open at its start; ``compressed``: gzip of any number of members.

    At most ``limit`` bytes of tar are read, where that is known. All methods raise :class:`BadLayer`, and ``OSError``
    only where a disk fails. ``size`` and ``digest`` are those of the tar stream, once :meth:`drain` has been called.
    """

    def __init__(self, raw: BinaryIO, *, compressed: bool, limit: int) -> None:
        opened: Any = igzip  # its functions have no types
        self._plain: IO[bytes] = opened.IGzipFile(fileobj=raw, mode="rb") if compressed else raw
        self._limit = limit
        self._hash = hashlib.sha256()
        self._ends = 0
        self.size = 0

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of what has been read."""
        return f"sha256:{self._hash.hexdigest()}"

    def read(self, size: int = -1) -> bytes:
        """For ``tarfile``."""
        data = self._plain.read(size)
        if not data and size:
            # Else tarfile would pass over what a header says is there, block by block, to the end of any number.
            self._ends += 1
            if self._ends > _ENDS:
                raise tarfile.ReadError("unexpected end of data")
        self.size += len(data)
        if self.size > self._limit:
            raise BadLayer(f"expected at most {self._limit} bytes of tar, found more")
        self._hash.update(data)
        return data

    def members(self) -> Iterator[tuple[tarfile.TarInfo, str, IO[bytes] | None]]:
        """Each member with its normal path (``""`` is the root) and, of a file, its content, which is read before
        the next member is asked for. Links have targets, of hard links a normal path."""
        with damage(_NONSENSE):
            tar = tarfile.open(  # noqa: SIM115 - a stream, which its owner closes
                fileobj=cast(Any, self), mode="r|", errorlevel=2, tarinfo=_Header, encoding="utf-8",
                errors="surrogateescape",
            )  # fmt: skip
        count = 0
        while True:
            with damage(_NONSENSE):
                member = tar.next()
                if member is None:
                    return
                # tarfile keeps them all, for a question that nobody asks here.
                cast(Any, tar).members.clear()
                path = plain_path(member.name)
                member.mode &= 0o7777  # base 256 can be any number, and a negative one
                count += 1
                self._check(member, path, count)
                content = tar.extractfile(member) if member.isreg() else None
            yield member, path, content

    def _check(self, member: tarfile.TarInfo, path: str, count: int) -> None:
        if count > _MEMBERS:
            raise BadLayer(f"it has more than {_MEMBERS} members")
        if not 0 <= member.size <= self._limit:
            raise BadLayer(f"`{path}` has {member.size} bytes, expected at most {self._limit}")
        if member.islnk() or member.issym():
            if not member.linkname:
                raise BadLayer(f"the link `{path}` leads to nothing: its target is empty")
            if found := CONTROL.search(member.linkname):
                raise BadLayer(f"the link `{path}` leads to a name with the character U+{ord(found[0]):04X}")
        if member.islnk():
            plain_path(member.linkname)
        whiteout(path, member.isdir())

    def drain(self) -> None:
        """Read what follows the archive: it belongs to the stream's digest."""
        with damage():
            while self.read(_CHUNK):
                pass


@contextmanager
def damage(kinds: tuple[type[Exception], ...] = _DAMAGE) -> Iterator[None]:
    """What a damaged stream raises becomes a :class:`BadLayer`; around whatever reads a member's content."""
    try:
        yield
    except kinds as e:
        raise BadLayer(f"expected a layer, a tar stream: {e or type(e).__name__}") from e
    except OSError as e:
        if e.errno is not None:
            raise
        raise BadLayer(f"expected a layer, a tar stream in gzip: {e}") from e


def plain_path(name: str) -> str:
    """``./usr//bin/`` → ``usr/bin``; raises :class:`BadLayer` for a name that leads out or that no system takes."""
    if found := CONTROL.search(name):
        raise BadLayer(f"the name `{name}` holds the character U+{ord(found[0]):04X}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadLayer(f"the entry `{name}` leads out of the image")
    if len(parts) > DEPTH:
        raise BadLayer(f"the name `{name[:40]}…` lies {len(parts)} folders deep, expected at most {DEPTH}")
    path = "/".join(parts)
    if len(path) * 4 > _NAME and (
        len(path.encode("utf-8", "surrogateescape")) > _PATH
        or any(len(part.encode("utf-8", "surrogateescape")) > _NAME for part in parts)
    ):
        raise BadLayer(f"the name `{path[:40]}…` is longer than a file system takes ({_NAME} bytes, {_PATH} in all)")
    return path


def whiteout(path: str, folder: bool = False) -> str | None:
    """What the member at ``path`` hides: a name beside it, ``""`` for all that is there, ``None`` where it is a file.

    Notes that hide nothing are told as one. Raises :class:`BadLayer` for a name that cannot be hidden, and for a
    ``folder`` that is a whiteout (OCI image-spec v1.1, layer.md, "Whiteouts").
    """
    if WHITEOUT not in path:
        return None
    above, _, name = f"/{path}".rpartition("/")
    if f"/{WHITEOUT}" in above and f"/{NOTES}" not in above:
        raise BadLayer(f"`{path}` lies in a whiteout")
    if not name.startswith(WHITEOUT):
        return NOTES if f"/{NOTES}" in above else None
    if name == OPAQUE:
        return ""
    hidden = name.removeprefix(WHITEOUT)
    if name.startswith(NOTES):
        return NOTES
    if folder:
        raise BadLayer(f"the whiteout `{path}` is a folder, expected a file")
    if hidden in ("", ".", ".."):
        raise BadLayer(f"the whiteout `{path}` hides `{hidden}`, which is no name in its folder")
    return hidden
