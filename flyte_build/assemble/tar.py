"""The one tar normal form of every layer: ustar (POSIX.1-1988), with pax records (POSIX.1-2001) where it must.

A header is a function of its entry alone: mtime is 1980-01-01 (zip's epoch; zero breaks tools that repack as
zip), owners are numbers without names. Writing is not left to ``tarfile``, whose choices change between
versions of Python.
"""

from __future__ import annotations

from .entries import Entry

__all__ = ["BLOCK", "END", "MTIME", "SMALL_ID", "SMALL_SIZE", "header", "padding", "split"]

BLOCK = 512
MTIME = 315532800
"""1980-01-01T00:00:00Z in seconds since the epoch."""

END = bytes(2 * BLOCK)
"""The two zero blocks that end an archive."""

_TYPE = {"file": b"0", "hardlink": b"1", "symlink": b"2", "dir": b"5"}
_PAX_NAME = b"././@PaxHeader"
_NAME, _PREFIX = 100, 155
_MTIME_FIELD = b"%011o\0" % MTIME
# magic, version, uname, gname, devmajor, devminor
_IDENTITY = b"ustar\x0000" + bytes(64) + b"0000000\x000000000\0"
_ZEROS = tuple(bytes(n) for n in range(BLOCK))
SMALL_ID, SMALL_SIZE = 0o7777777, 0o77777777777
"""The largest owner and size that ustar's own fields hold."""


def padding(size: int) -> bytes:
    """The zeros that follow ``size`` bytes of content."""
    return _ZEROS[-size % BLOCK]


def header(entry: Entry) -> tuple[bytes, ...]:
    """Everything that precedes the content of ``entry``: one or, with pax records, three or more blocks.

    The header comes in pieces, which :func:`~.deflate.deflate` encodes one by one.
    """
    name = entry.path.encode() + (b"/" if entry.kind == "dir" else b"")
    link = entry.link.encode()
    prefix = b""
    records = []
    if len(name) > _NAME or not name.isascii():
        divided = split(name)
        if divided is None:
            records.append((b"path", name))
            name = _shown(name)
        else:
            prefix, name = divided
    if len(link) > _NAME or not link.isascii():
        records.append((b"linkpath", link))
        link = _shown(link)
    size, uid, gid = entry.size, entry.uid, entry.gid
    if size > SMALL_SIZE:
        records.append((b"size", b"%d" % size))
        size = 0
    if uid > SMALL_ID:
        records.append((b"uid", b"%d" % uid))
        uid = 0
    if gid > SMALL_ID:
        records.append((b"gid", b"%d" % gid))
        gid = 0
    fields = _fields(name, entry.mode, uid, gid, size, _TYPE[entry.kind], link, prefix)
    records += [(b"SCHILY.xattr." + key.encode(), value) for key, value in entry.xattrs]
    if not records:
        return fields
    body = b"".join(_record(key, value) for key, value in sorted(records))
    return (
        *_fields(_PAX_NAME, 0o644, 0, 0, len(body), b"x", b"", b""),
        body,
        padding(len(body)),
        *fields,
    )


def split(name: bytes) -> tuple[bytes, bytes] | None:
    """``name`` as ustar's prefix and name, divided at the first slash that leaves at most 100 bytes."""
    if not name.isascii():
        return None
    at = name.find(b"/", max(len(name) - _NAME - 1, 1))
    if at < 0 or at > _PREFIX or at >= len(name) - 1:
        return None
    return name[:at], name[at + 1 :]


def _shown(name: bytes) -> bytes:
    """What a reader that knows no pax records sees."""
    return name.decode().encode("ascii", "replace")[:_NAME]


def _record(key: bytes, value: bytes) -> bytes:
    """``"%d %s=%s\\n"``, where the number counts the whole record, itself included (POSIX pax, 4.18.2)."""
    rest = len(key) + len(value) + 3
    length = rest
    while length != rest + len(str(length)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _fields(
    name: bytes, mode: int, uid: int, gid: int, size: int, kind: bytes, link: bytes, prefix: bytes
) -> tuple[bytes, ...]:
    """One header block, divided where what changes from file to file meets what does not."""
    owner = b"%07o\0%07o\0%07o\0" % (mode, uid, gid)
    length = b"%011o\0" % size
    if link or prefix:
        tail = kind + link + _ZEROS[_NAME - len(link)] + _IDENTITY + prefix + _ZEROS[_PREFIX + 12 - len(prefix)]
    else:
        tail = _TAILS[kind]
    # The checksum is computed as if its own field were eight blanks.
    total = 256 + sum(name) + sum(owner) + sum(length) + sum(kind) + sum(link) + sum(prefix) + _FIXED
    checksum = b"%06o\0 " % total
    base = name.rfind(b"/", 0, -1) + 1
    return (
        name[:base],
        name[base:],
        _ZEROS[_NAME - len(name)],
        owner,
        length[:6],
        length[6:9],
        length[9:],
        _MTIME_FIELD,
        checksum[:3],
        checksum[3:],
        tail,
    )


_FIXED = sum(_MTIME_FIELD) + sum(_IDENTITY)
_TAILS = {kind: kind + bytes(_NAME) + _IDENTITY + bytes(_PREFIX + 12) for kind in (*_TYPE.values(), b"x")}
