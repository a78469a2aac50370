"""Changes inside of what is packed: a file of a wheel or a .deb, a message's field, a bundle's document.

What is around it is made right again (sums, sizes, hashes), mostly, so that a change comes to the reader it is for.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import random
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache

from flyte_build.delivery import tarball

from ..support.wheels import Member, record_hash, write_zip
from . import mutating

__all__ = ["bundle", "deb", "deflated", "divided", "gzipped", "headed", "pins", "proto", "wheel"]

Mutator = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


@lru_cache(256)
def _members(data: bytes) -> tuple[tuple[str, bytes, int], ...]:
    """Name, content and mode of a good archive's members; none of any other."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(i.file_size for i in archive.infolist()) > 1 << 20:
                return ()
            return tuple((i.filename, archive.read(i), i.external_attr >> 16) for i in archive.infolist())
    except Exception:  # a seed may be broken in any way
        return ()


def wheel(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    members = list(_members(data)) if r.random() < 0.75 else []
    if not members:
        return mutating.binary(r, data, others)
    at = r.choice([i for i, m in enumerate(members) if ".dist-info/" in m[0]] or [0]) if r.random() < 0.7 else None
    at = r.randrange(len(members)) if at is None else at
    name, content, mode = members[at]
    match r.randrange(10):
        case 0:
            name = mutating.text(r, name.encode(), [b"a.py"]).decode("utf-8", "replace")[:400]
        case 1:
            mode = r.choice((0o100755, 0o120777, 0o040755, 0o104755, 0, 0xFFFF, 0o020666))
        case 2:
            members.append((r.choice(("alpha/x", "../x", "a/../b", "alpha", "ALPHA/x", name + "/x")), b"x", 0o100644))
        case _:
            content = mutating.text(r, content, [m[1] for m in members])
    members[at] = name, content, mode
    if r.random() < 0.7:
        members = [(n, _recorded(members) if n.endswith("/RECORD") else c, m) for n, c, m in members]
    method = r.choice((0, 8))
    return write_zip([Member(n, c, m, method) for n, c, m in members if len(n.encode("utf-8", "replace")) < 65536])


def _recorded(members: Sequence[tuple[str, bytes, int]]) -> bytes:
    """RECORD as it has to be for these members, with a line for each as it was written."""
    lines = [f"{n},," if n.endswith("/RECORD") else f"{n},{record_hash(c)},{len(c)}" for n, c, _ in members]
    return "\n".join([*lines, ""]).encode("utf-8", "replace")


@lru_cache(256)
def _parts(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Name and content of an ar archive's members; what is compressed with gzip is not any more."""
    found, at = [], 8
    while data[at + 58 : at + 60] == b"`\n" and data[at + 48 : at + 58].strip().isdigit():
        name, size = data[at : at + 16].strip(), int(data[at + 48 : at + 58])
        content = data[at + 60 : at + 60 + size]
        if name.endswith(b".gz"):
            try:
                name, content = name[:-3], gzip.decompress(content)
            except (OSError, EOFError, ValueError, zlib.error):
                return ()
        found.append((name, content))
        at += 60 + size + (size & 1)
    return tuple(found)


def deb(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    parts = list(_parts(data)) if r.random() < 0.75 else []
    if len(parts) < 3:
        return mutating.binary(r, data, others)
    at = r.choice((1, 1, 2))
    parts[at] = parts[at][0], mutating.tar(r, parts[at][1], [parts[at][1]])
    out = bytearray(b"!<arch>\n")
    for name, content in parts:
        out += b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name[:16], 0, 0, 0, b"100644", len(content))
        out += content + b"\n" * (len(content) & 1)
    return bytes(out)


def deflated(inner: Mutator) -> Mutator:
    """Of a zlib stream, what is in it; now and then the stream itself."""
    return _within(inner, zlib.decompress, lambda data: zlib.compress(data, 1))


def gzipped(inner: Mutator) -> Mutator:
    return _within(inner, gzip.decompress, lambda data: gzip.compress(data, 1, mtime=0))


def bzipped(inner: Mutator) -> Mutator:
    """``inner`` on what bzip2 has packed."""
    return _within(inner, bz2.decompress, bz2.compress)


def _within(inner: Mutator, unpack: Callable[[bytes], bytes], pack: Callable[[bytes], bytes]) -> Mutator:
    def changed(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
        if r.random() < 0.7:
            try:
                plain = unpack(data)
                return pack(inner(r, plain, [plain]))
            except (OSError, EOFError, ValueError, zlib.error):
                pass
        return mutating.binary(r, data, others)

    return changed


def divided(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Two JSON documents, divided by a zero: one of them is changed."""
    first, zero, second = data.partition(b"\0")
    if r.random() < 0.5:
        return mutating.document(r, first, [first]) + zero + second
    return first + zero + mutating.document(r, second, [second])


def headed(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A line, and a body of the kind that the line ends with: ``json`` or ``proto``."""
    head, line, body = data.partition(b"\n")
    if r.random() < 0.05:
        head = b"%s %s" % (
            r.choice((b"Enqueue", b"Abort", b"Signal", b"WatchForUpdates")),
            r.choice((b"json", b"proto")),
        )
    inner = mutating.document if head.endswith(b"json") else proto
    return head + line + inner(r, body, [other.partition(b"\n")[2] for other in others[:8]])


def pins(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Only the pins of a lock."""
    try:
        raw = json.loads(data)
        found = json.dumps(raw["pins"]).encode()
        changed = mutating.document(r, found, [found])
        return json.dumps({**raw, "pins": "#"}).encode().replace(b'"#"', changed)
    except (ValueError, KeyError, TypeError, RecursionError):
        return mutating.document(r, data, others)


# -- protobuf ----------------------------------------------------------------------------------------


def proto(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A field of a message, or of a message in it, changed, doubled, moved or dropped; lengths around it hold."""
    if r.random() < 0.15 or not data:
        return mutating.binary(r, data, others)
    return _message(r, data, r.choice(others) if others else data, 0)


def _message(r: random.Random, data: bytes, other: bytes, depth: int) -> bytes:
    fields = _fields(data)
    if not fields:
        return mutating.binary(r, data, [other])
    at = r.randrange(len(fields))
    number, kind, value = fields[at]
    below = kind == 2 and len(value) > 1 and _fields(value)
    if below and r.random() < 0.8 and depth < 20:
        fields[at] = number, kind, _message(r, value, other, depth + 1)
    else:
        match r.randrange(8):
            case 0:
                del fields[at]
            case 1:
                fields.insert(r.randrange(len(fields) + 1), (number, kind, value))
            case 2:
                fields[at] = r.choice((number + 1, max(1, number - 1), 1, 15, 1000)), kind, value
            case 3:
                fields.insert(at, r.choice(_fields(other) or fields))
            case 4 if kind == 2:
                nested = value
                for _ in range(r.choice((1, 3, 200))):
                    nested = _varint(number << 3 | 2) + _varint(len(nested)) + nested
                fields[at] = number, kind, nested
            case _:
                fields[at] = number, kind, _changed(r, kind, value)
    return b"".join(_varint(n << 3 | k) + (_varint(len(v)) if k == 2 else b"") + v for n, k, v in fields)


def _changed(r: random.Random, kind: int, value: bytes) -> bytes:
    if kind == 0:
        return _varint(r.choice(mutating.NUMBERS) % (1 << 64))
    if kind == 2:
        token = r.choice(mutating.TOKENS).encode("utf-8", "surrogatepass")
        return r.choice((token, value + token, b"/tmp/" + token, value * 2, mutating.binary(r, value, [value])))
    return r.randbytes(len(value))


@lru_cache(4096)
def _fields_of(data: bytes) -> tuple[tuple[int, int, bytes], ...]:
    """Number, wire type and value of a message's fields; none where it is no message."""
    found, at = [], 0
    while at < len(data):
        tag, at = _number(data, at)
        number, kind = tag >> 3, tag & 7
        begin = at
        if kind == 0:
            _, at = _number(data, at)
        elif kind == 2:
            size, begin = _number(data, at)
            at = begin + size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            return ()
        if at > len(data) or not number:
            return ()
        found.append((number, kind, data[begin:at]))
    return tuple(found)


def _fields(data: bytes) -> list[tuple[int, int, bytes]]:
    return list(_fields_of(data))


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if not byte & 128:
            return value, at
    return 0, len(data) + 1


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


# -- bundles -----------------------------------------------------------------------------------------

_DOCUMENTS = ("index.json", "locks/", "derivations/", "modules/", "blobs/")


@lru_cache(64)
def _entries(data: bytes) -> tuple[tuple[str, bytes], ...]:
    """Path and content of each entry of a good bundle."""
    found, at = [], 0
    while (header := data[at : at + 512])[257:262] == b"ustar":
        digits = header[124:135]
        if not digits.isdigit() or set(digits) & set(b"89"):
            return ()
        size = int(digits, 8)
        found.append((header[:100].rstrip(b"\0").decode("latin-1"), data[at + 512 : at + 512 + size]))
        at += 512 + size + -size % 512
    return tuple(found)


def bundle(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    entries = list(_entries(data)) if r.random() < 0.85 else []
    if not entries:
        return mutating.binary(r, data, others)
    documents = [i for i, (path, _) in enumerate(entries) if path.startswith(_DOCUMENTS)]
    at = 0 if r.random() < 0.3 else r.choice(documents or [0])
    path, content = entries[at]
    changed = mutating.document(r, content, [content])
    if at and r.random() < 0.9:
        old, new = (hashlib.sha256(c).hexdigest() for c in (content, changed))
        path = path.replace(old, new)
        rows = entries[0][1].replace(old.encode(), new.encode())
        sized = rb'("path":"%s","sha256":"[0-9a-f]+","size":)\d+' % re.escape(path.encode("latin-1"))
        rows = re.sub(sized, rb"\g<1>%d" % len(changed), rows)
        entries[0] = entries[0][0], rows
    entries[at] = path, changed
    try:
        return b"".join(tarball.stream([tarball.member(name, content) for name, content in entries]))
    except (ValueError, KeyError, UnicodeError):
        return mutating.binary(r, data, others)
