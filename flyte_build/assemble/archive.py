"""A zip archive's members, read with care: where their bytes lie, and nothing two readers could read differently.

``zipfile`` is lenient where installers have been fooled (it cuts names at NUL, lets the last duplicate win,
ignores local headers) and has changed its mind between versions of Python. Here the central directory and the local
headers must tell one story (APPNOTE 6.3.10), and what is not in use in wheels is refused.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from typing import NamedTuple

from .bombs import most_inflated
from .errors import AssembleError
from .paths import check_name, check_path, printable

__all__ = ["DEFLATED", "READ_LIMIT", "STORED", "Archive", "Member"]

STORED, DEFLATED = 0, 8
_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_FAR, _MANY = 0xFFFFFFFF, 0xFFFF
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_DESCRIPTOR, _PATCH, _UTF8 = 1 << 3, 1 << 5, 1 << 11
READ_LIMIT = 64 << 20
"""Bytes that a member may have which is read whole."""
# A wheel that says it unpacks to more than this, or 64 times its size, is a bomb.
_LEAST = 4 << 30
_ZSTANDARD = ", Zstandard, which no specification of wheels allows so far: ask for a version with another wheel"


class Member(NamedTuple):
    """A file of the archive: ``csize`` bytes at ``offset``, compressed by ``method``; ``mode`` as in ``st_mode``."""

    name: str
    method: int
    offset: int
    csize: int
    size: int
    crc32: int
    mode: int

    @property
    def executable(self) -> bool:
        """Whether installers set the executable bits: a regular file with any of them."""
        return stat.S_ISREG(self.mode) and self.mode & 0o111 != 0


class Archive:
    """The files of the zip at ``path``, by name in the directory's order; ``artifact`` is what messages call it.

    Raises :class:`AssembleError` when it is not a zip, is cut off, or has a member that is hostile or that
    readers could disagree about. Folders are checked and left out. Close it after use. ``members`` are those that
    are wanted, where somebody else has read and checked them all.
    """

    def __init__(self, path: str, artifact: str, members: dict[str, Member] | None = None) -> None:
        self.path = path
        self.artifact = artifact
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._length = os.fstat(self._file).st_size
        try:
            self.members = members if members is not None else self._members()
        except BaseException:
            os.close(self._file)
            raise

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fail(self, message: str, member: str | None = None) -> AssembleError:
        """The error that ``message`` is, about ``member``."""
        return AssembleError(printable(message if member is None else f"`{member}`: {message}"), self.artifact)

    def read(self, member: Member, limit: int = READ_LIMIT) -> bytes:
        """The whole content of ``member``, checked; for the few small files that have to be understood."""
        size = max(member.size, member.csize)
        if size > limit:
            raise self.fail(f"expected at most {limit} bytes, the member has {size}", member.name)
        return self._content(member, member.size)

    def start(self, member: Member, size: int) -> bytes:
        """The first ``size`` bytes of ``member``, or fewer where it is shorter; unchecked."""
        return self._content(member, min(size, member.size), whole=False)

    def _content(self, member: Member, size: int, *, whole: bool = True) -> bytes:
        raw = os.pread(self._file, member.csize if whole else min(member.csize, 4096 + size), member.offset)
        if member.method == STORED:
            data = raw[:size]
        else:
            try:
                data = zlib.decompressobj(-15).decompress(raw, size + whole)
            except zlib.error as e:
                raise self.fail(f"its DEFLATE stream is corrupt: {e}", member.name) from None
        if whole and (len(data) != size or zlib.crc32(data) != member.crc32):
            raise self.fail(
                f"expected {size} bytes with CRC-32 {member.crc32:08x}, found {len(data)} with {zlib.crc32(data):08x}",
                member.name,
            )
        return data

    # -- the directory ---------------------------------------------------------------------------

    def _members(self) -> dict[str, Member]:
        count, size, start = self._end()
        directory = os.pread(self._file, size, start)
        if len(directory) != size:
            raise self.fail(f"expected a zip directory of {size} bytes, the file ends after {len(directory)}")
        members: dict[str, Member] = {}
        folders: set[str] = set()
        extents: list[tuple[int, int]] = []
        at = 0
        for _ in range(count):
            if size - at < _CENTRAL.size or directory[at : at + 4] != b"PK\1\2":
                raise self.fail(f"expected {count} members in the zip directory, found {len(extents)}")
            fields = _CENTRAL.unpack_from(directory, at)
            at += _CENTRAL.size
            name_size, extra_size, comment_size = fields[10:13]
            name = directory[at : at + name_size]
            extra = directory[at + name_size : at + name_size + extra_size]
            at += name_size + extra_size + comment_size
            member, header = self._member(fields, name, extra)
            extents.append((header, member.offset + member.csize))
            shown = member.name.removesuffix("/")
            if shown in members or (shown in folders and not member.name.endswith("/")):
                raise self.fail("the archive holds this name twice", shown)
            if member.name.endswith("/"):
                folders.add(shown)
            else:
                members[shown] = member
        if at != size:
            raise self.fail(f"expected a zip directory of {size} bytes, its {count} members fill {at}")
        self._disjoint(extents, start)
        said, most = sum(m.size for m in members.values()), most_inflated(self._length, _LEAST)
        if said > most:
            raise self.fail(f"its {self._length} bytes unpack to {said}, expected at most {most}: a bomb")
        return members

    def _end(self) -> tuple[int, int, int]:
        """Number of members, bytes of the directory, and where it begins."""
        length = self._length
        tail = os.pread(
            self._file,
            min(length, _END.size + _LOCATOR.size + _MANY),
            max(0, length - _END.size - _LOCATOR.size - _MANY),
        )
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) - at < _END.size:
            raise self.fail(f"not a zip archive, or cut off: no end of its directory in the last of {length} bytes")
        _, disk, start_disk, here, count, size, start, comment = _END.unpack_from(tail, at)
        more = len(tail) - at - _END.size - comment
        if more:
            raise self.fail(f"expected the file to end with the zip directory, found {more} more bytes")
        end = length - len(tail) + at
        if at >= _LOCATOR.size and tail[at - _LOCATOR.size :].startswith(b"PK\6\7"):
            _, far_disk, far, disks = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
            raw = os.pread(self._file, _END64.size, far) if far < length else b""
            if len(raw) != _END64.size or raw[:4] != b"PK\6\6" or disks != 1 or far_disk != 0:
                raise self.fail(f"expected the zip64 end of the directory at byte {far}")
            _, _, _, _, disk, start_disk, here, count, size, start = _END64.unpack(raw)
            end = far
        if disk or start_disk or here != count:
            raise self.fail("the archive is one of several disks")
        if start + size != end:
            raise self.fail(f"expected the zip directory to end at byte {end}, it says {start + size}")
        return count, size, start

    def _member(self, fields: tuple[int, ...], raw_name: bytes, extra: bytes) -> tuple[Member, int]:
        (_, _, _, flags, method, _, _, crc, csize, size, _, _, _, disk, _, attributes, header) = fields
        name = self._name(raw_name, flags)
        if _FAR in (csize, size, header):
            csize, size, header = self._far(name, extra, csize, size, header)
        mode = attributes >> 16
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFLNK:
            raise self.fail("a symbolic link, which wheels may not hold", name)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or disk:
            raise self.fail("neither a file nor a folder", name)
        if flags & _ENCRYPTED:
            raise self.fail("the member is encrypted", name)
        if method not in (STORED, DEFLATED) or flags & _PATCH:
            more = _ZSTANDARD if method == 93 else ""
            raise self.fail(f"expected compression stored or deflated, found method {method}{more}", name)
        if method == STORED and csize != size:
            raise self.fail(f"stored, but its sizes differ: {csize} and {size}", name)
        if name.endswith("/") and size:
            raise self.fail(f"a folder with {size} bytes of content", name)
        offset = self._data_offset(name, raw_name, header, (flags, method, crc, csize, size))
        return Member(name, method, offset, csize, size, crc, mode), header

    def _name(self, raw: bytes, flags: int) -> str:
        """APPNOTE appendix D: UTF-8 where flag 11 says so, else code page 437."""
        try:
            name = raw.decode("utf-8" if flags & _UTF8 else "cp437")
        except UnicodeDecodeError:
            raise self.fail("the name is not UTF-8 although the archive says so", repr(raw)) from None
        if "\\" in name:
            raise self.fail("the path holds a backslash", name)
        try:
            check_path(name.removesuffix("/"))
            check_name(name)
        except ValueError as e:
            raise self.fail(str(e), name) from None
        return name

    def _far(self, name: str, extra: bytes, csize: int, size: int, header: int) -> tuple[int, int, int]:
        """The zip64 extra field (APPNOTE 4.5.3): eight bytes for each field that does not fit, in this order."""
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<HH", extra, at)
            if kind == 1 and at + 4 + length <= len(extra):
                values = list(struct.unpack(f"<{length // 8}Q", extra[at + 4 : at + 4 + length // 8 * 8]))
                out = [values.pop(0) if v == _FAR and values else v for v in (size, csize, header)]
                return out[1], out[0], out[2]
            at += 4 + length
        raise self.fail("the zip64 field is missing", name)

    def _data_offset(self, name: str, raw_name: bytes, header: int, central: tuple[int, ...]) -> int:
        """Where the content begins; the local header must agree with the directory."""
        raw = os.pread(self._file, _LOCAL.size + len(raw_name), header) if header < self._length else b""
        if len(raw) < _LOCAL.size or raw[:4] != b"PK\3\4":
            raise self.fail(f"expected a local header at byte {header}", name)
        _, _, flags, method, _, _, crc, csize, size, name_size, extra_size = _LOCAL.unpack_from(raw)
        if name_size != len(raw_name) or raw[_LOCAL.size :] != raw_name:
            raise self.fail("its local header has another name", name)
        local = (flags, method, crc, csize, size)
        if local != central:
            self._explain(name, local, central)
        return header + _LOCAL.size + int(name_size) + int(extra_size)

    def _explain(self, name: str, local: tuple[int, ...], central: tuple[int, ...]) -> None:
        """Raises unless the difference is one that the format has: sizes in a data descriptor or a zip64 field."""
        later = local[0] & _DESCRIPTOR and not any(local[2:])
        for i, what in enumerate(("flags", "compression", "CRC-32", "compressed size", "size")):
            if (i >= 2 and later) or (i >= 3 and local[i] == _FAR):
                continue
            if local[i] != central[i]:
                raise self.fail(f"its local header has {what} {local[i]}, the zip directory {central[i]}", name)

    def _disjoint(self, extents: list[tuple[int, int]], limit: int) -> None:
        """Members that share bytes are how small files become very large ones."""
        last = 0
        for start, end in sorted(extents):
            if start < last:
                raise self.fail(f"two members overlap at byte {start}")
            last = end
        if last > limit:
            raise self.fail(f"a member overlaps the zip directory at byte {limit}")
