"""Reads the tars inside a .deb: headers only, contents stay where they are.

The standard library's ``tarfile`` is not used, because it takes a damaged header in the middle of an
archive for its end, and because what it accepts changes from one Python to the next (law 3). Accepted
is what dpkg accepts: v7, ustar and GNU headers with GNU long names; POSIX.1-2017, pax, "ustar
Interchange Format", and GNU tar's manual, "Basic Tar Format". Never accepted: devices, pipes, pax
headers where they are not asked for, absolute names, ``..``, and whiteouts, which would delete files
of other layers (OCI image-spec v1.1, layer.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from .errors import AssembleError
from .paths import check_name

__all__ = ["Member", "members"]

_BLOCK = 512
_ZERO = bytes(_BLOCK)
# Longer names than any file system takes are not worth reading.
_MAX_NAME = 1 << 16
_LONGEST = 255
# Characters of a message: what a package calls its files may be long.
_SAID = 1000
_SPECIAL = {b"3": "a character device", b"4": "a block device", b"6": "a named pipe", b"x": "a pax header"}
_SPECIAL |= {b"g": "a global pax header", b"S": "a sparse file"}


@dataclass(frozen=True, slots=True)
class Member:
    """One member: ``path`` relative and normal (``""`` is the root folder), content at ``offset`` of the tar.

    ``link`` is the target of a symlink as written, of a hard link a normal path of this archive.
    """

    path: str
    kind: Literal["file", "dir", "symlink", "hardlink"]
    mode: int
    uid: int
    gid: int
    offset: int = 0
    size: int = 0
    link: str = ""


def members(stream: BinaryIO, artifact: str, name: str, *, pax: bool = False) -> Iterator[Member]:
    """The members of the uncompressed tar in ``stream`` (seekable, read from its start), in their order.

    ``artifact`` and ``name`` (the .deb and the tar in it) are for messages. ``pax``: headers of POSIX.1-2017 are read,
    too, as far as they say a name, a link or a size. Raises :class:`AssembleError` for an archive that is damaged,
    truncated or hostile.
    """
    end = stream.seek(0, 2)
    reader = _Reader(stream, end, artifact, name)
    position = 0
    long_name: str | None = None
    long_link: str | None = None
    stated: int | None = None
    while True:
        header = reader.block(position)
        if header == _ZERO:
            if long_name is not None or long_link is not None:
                raise reader.fail(position, "expected the member a long name belongs to, found the end")
            return
        _verify(header, position, reader)
        kind = header[156:157]
        size = reader.number(header[124:136], position, "size")
        if stated is not None and kind in (b"0", b"\0", b"7"):
            size = stated
        data = position + _BLOCK
        following = data + -(-size // _BLOCK) * _BLOCK
        if following > end:
            raise reader.fail(position, f"expected {size} bytes of content, found {end - data}: truncated")
        if kind in (b"L", b"K"):
            if size > _MAX_NAME:
                raise reader.fail(position, f"a name of {size} bytes is longer than {_MAX_NAME}")
            stream.seek(data)
            value = reader.text(stream.read(size), position)
            long_name, long_link = (value, long_link) if kind == b"L" else (long_name, value)
        elif pax and kind in (b"x", b"g"):
            if kind == b"x":
                said = _records(stream, reader, position, data, size)
                long_name, long_link = said.get("path", long_name), said.get("linkpath", long_link)
                stated = reader.number(said["size"].encode(), position, "size", 10) if "size" in said else None
        else:
            yield _member(header, reader, position, data, size, long_name, long_link)
            long_name = long_link = stated = None
            if kind in (b"1", b"2", b"5"):
                following = data
        position = following


class _Reader:
    """Fields out of blocks, and errors that say where."""

    def __init__(self, stream: BinaryIO, end: int, artifact: str, name: str) -> None:
        self.stream = stream
        self.end = end
        self.artifact = artifact
        self.name = name

    def fail(self, position: int, message: str) -> AssembleError:
        shown = message if len(message) <= _SAID else f"{message[:_SAID]}…"
        return AssembleError(f"{self.name}, at byte {position}: {shown}", self.artifact)

    def block(self, position: int) -> bytes:
        self.stream.seek(position)
        block = self.stream.read(_BLOCK)
        if len(block) != _BLOCK:
            raise self.fail(position, "expected a header or the end-of-archive block, found no more bytes: truncated")
        return block

    def number(self, raw: bytes, position: int, what: str, base: int = 8) -> int:
        """Octal digits, or GNU's base 256 for what does not fit; decimal ones in a pax header."""
        if raw[:1] == b"\x80":
            return int.from_bytes(raw[1:], "big")
        digits = raw.split(b"\0", 1)[0].strip(b" ")
        if digits.strip(b"0123456789"[:base]) or len(digits) > 20:
            raise self.fail(position, f"expected {'an octal' if base == 8 else 'a decimal'} {what}, found {raw!r}")
        return int(digits, base) if digits else 0

    def text(self, raw: bytes, position: int) -> str:
        raw = raw.split(b"\0", 1)[0]
        try:
            name = raw.decode("utf-8")
            check_name(name)
        except UnicodeDecodeError:
            raise self.fail(position, f"expected a name in UTF-8, found {raw!r}") from None
        except ValueError as e:
            raise self.fail(position, f"{e}: {raw!r}") from None
        return name

    def path(self, name: str, position: int) -> str:
        if name.startswith("/"):
            raise self.fail(position, f"the name {name!r} is absolute")
        path = name.removeprefix("./").removesuffix("/")
        if path in ("", "."):
            return ""
        for part in path.split("/"):
            if part in ("", ".", ".."):
                raise self.fail(position, f"the name {name!r} is not a normal path")
            if part.startswith(".wh."):
                raise self.fail(position, f"the name {name!r} would be a whiteout in a layer")
            if len(part.encode()) > _LONGEST:
                raise self.fail(position, f"the name {part[:40]!r}… has more than {_LONGEST} bytes")
        return path


def _records(stream: BinaryIO, reader: _Reader, position: int, data: int, size: int) -> dict[str, str]:
    """The records of a pax header that say where a member lies: `LENGTH KEY=VALUE`, a line each."""
    if size > 4 * _MAX_NAME:
        raise reader.fail(position, f"a pax header of {size} bytes is longer than {4 * _MAX_NAME}")
    stream.seek(data)
    rest, found = stream.read(size), {}
    while rest:
        digits, _, _ = rest.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        key, equals, value = rest[len(digits) + 1 : length - 1].partition(b"=")
        if not equals or len(rest) < length or rest[length - 1 : length] != b"\n":
            raise reader.fail(position, "expected records of a pax header, found something else")
        if key.startswith(b"GNU.sparse."):
            raise reader.fail(position, "a sparse file has no place in an image")
        if key in (b"path", b"linkpath", b"size"):
            if b"\0" in value:
                raise reader.fail(position, f"the name {value!r} has a NUL")
            found[key.decode()] = reader.text(value, position)
        rest = rest[length:]
    return found


def _verify(header: bytes, position: int, reader: _Reader) -> None:
    stated = reader.number(header[148:156], position, "checksum")
    found = sum(header) - sum(header[148:156]) + 8 * 0x20
    if stated != found:
        raise reader.fail(position, f"expected a header with checksum {stated}, found {found}: corrupt")


def _member(
    header: bytes, reader: _Reader, position: int, data: int, size: int, long_name: str | None, long_link: str | None
) -> Member:
    name = long_name
    if name is None:
        name = reader.text(header[:100], position)
        if header[257:263] == b"ustar\0" and header[345]:
            name = reader.text(header[345:500], position) + "/" + name
    link = long_link if long_link is not None else reader.text(header[157:257], position)
    path = reader.path(name, position)
    mode = reader.number(header[100:108], position, "mode") & 0o7777
    uid = reader.number(header[108:116], position, "uid")
    gid = reader.number(header[116:124], position, "gid")
    kind = header[156:157]
    if kind in (b"0", b"\0", b"7"):
        if kind == b"\0" and name.endswith("/"):
            return Member(path, "dir", mode, uid, gid)
        if not path:
            raise reader.fail(position, f"the name {name!r} cannot be a file's")
        return Member(path, "file", mode, uid, gid, data, size)
    if kind == b"5":
        return Member(path, "dir", mode, uid, gid)
    if kind == b"2" and path and link:
        return Member(path, "symlink", 0o777, uid, gid, link=link)
    if kind == b"1" and path and link:
        return Member(path, "hardlink", mode, uid, gid, link=reader.path(link, position))
    if kind in _SPECIAL:
        raise reader.fail(position, f"`{path}` is {_SPECIAL[kind]}, which has no place in an image")
    raise reader.fail(position, f"`{path}` is of the unknown type {kind!r}")
