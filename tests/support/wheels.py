"""Synthetic wheels, made byte by byte: no two machines make them differently, and each way to be corrupt has a name.

The zip is written here rather than by ``zipfile``, which refuses to write most of what a hostile wheel contains.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

__all__ = ["MUTATIONS", "Member", "build_wheel", "deflate_with_zlib", "record_hash", "stored", "write_zip"]

STORED, DEFLATED = 0, 8
_UTF8 = 1 << 11


def deflate_with_zlib(data: bytes) -> bytes:
    """A raw DEFLATE stream, as any wheel has; its bytes may differ between zlibs, so not for golden digests."""
    encoder = zlib.compressobj(6, zlib.DEFLATED, -15)
    return encoder.compress(data) + encoder.flush()


def stored(data: bytes) -> bytes:
    """A raw DEFLATE stream of stored blocks (RFC 1951, 3.2.4): the same bytes everywhere."""
    out = bytearray()
    for at in range(0, max(len(data), 1), 65535):
        block = data[at : at + 65535]
        out += struct.pack("<BHH", at + 65535 >= len(data), len(block), len(block) ^ 0xFFFF) + block
    return bytes(out)


def record_hash(data: bytes) -> str:
    """``sha256=<urlsafe base64 without padding>``, as RECORD has it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class Member:
    """One zip member; what is ``None`` is computed from ``data``. ``local_*`` let the local header disagree."""

    name: str
    data: bytes
    mode: int = 0o100644
    method: int = DEFLATED
    flags: int = 0
    crc: int | None = None
    size: int | None = None
    raw: bytes | None = None
    local_name: str | None = None
    local_crc: int | None = None
    zip64: bool = False
    create_system: int = 3
    extra: bytes = field(default=b"")


Mutation: TypeAlias = Callable[[list[Member]], list[Member]]


def write_zip(members: Sequence[Member], *, compress: Callable[[bytes], bytes] = deflate_with_zlib) -> bytes:
    """The zip archive of ``members`` (APPNOTE 6.3.3), in this order, dated 1980-01-01."""
    out, central = bytearray(), bytearray()
    for m in members:
        raw = m.raw if m.raw is not None else (compress(m.data) if m.method == DEFLATED else m.data)
        crc = zlib.crc32(m.data) if m.crc is None else m.crc
        size = len(m.data) if m.size is None else m.size
        name = m.name.encode()
        flags = m.flags | (0 if name.isascii() else _UTF8)
        offset = len(out)
        local_name = name if m.local_name is None else m.local_name.encode()
        local_crc = crc if m.local_crc is None else m.local_crc
        head = (45 if m.zip64 else 20, flags, m.method, 0, 0x21)
        if m.zip64:
            extra = struct.pack("<HHQQ", 1, 16, size, len(raw)) + m.extra
            out += struct.pack("<4s5H3I2H", b"PK\3\4", *head, local_crc, 2**32 - 1, 2**32 - 1, len(name), len(extra))
            far = struct.pack("<HHQQQ", 1, 24, size, len(raw), offset) + m.extra
            numbers = (crc, 2**32 - 1, 2**32 - 1, len(name), len(far), 0, 0, 0, m.mode << 16, 2**32 - 1)
        else:
            extra = far = m.extra
            out += struct.pack("<4s5H3I2H", b"PK\3\4", *head, local_crc, len(raw), size, len(local_name), len(extra))
            numbers = (crc, len(raw), size, len(name), len(far), 0, 0, 0, m.mode << 16, offset)
        out += local_name + extra + raw
        made_by = m.create_system << 8 | 20
        central += struct.pack("<4s6H3I5H2I", b"PK\1\2", made_by, *head, *numbers) + name + far
    start, count = len(out), len(members)
    out += central
    if any(m.zip64 for m in members):
        end = len(out)
        out += struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(central), start)
        out += struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
        out += struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    else:
        out += struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(central), start, 0)
    return bytes(out)


def build_wheel(
    directory: Path,
    name: str,
    version: str = "1.0",
    files: Mapping[str, bytes | str] | None = None,
    *,
    entry_points: str | None = None,
    data: Mapping[str, bytes | str] | None = None,
    modes: Mapping[str, int] | None = None,
    tag: str = "py3-none-any",
    requires: Sequence[str] = (),
    metadata: Mapping[str, bytes | str] | None = None,
    wheel_version: str = "1.0",
    method: int = DEFLATED,
    zip64: bool = False,
    compress: Callable[[bytes], bytes] = deflate_with_zlib,
    mutate: str | Mutation | None = None,
) -> Path:
    """Write ``<name>-<version>-<tag>.whl`` into ``directory`` and return its path.

    ``files`` are put beside the ``.dist-info`` folder; ``data`` goes below ``.data`` and is keyed
    ``"scripts/tool"``, ``"headers/x.h"``, …; ``modes`` are permission bits by archive path (0o644 otherwise);
    ``entry_points`` is the text of ``entry_points.txt``; ``metadata`` adds files to ``.dist-info``.
    ``mutate`` names one of :data:`MUTATIONS`, or is a function like them. Equal arguments
    give equal bytes (given ``compress``).
    """
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    if files is None:
        files = {f"{name.replace('-', '_')}/__init__.py": f'"""A synthetic package."""\n\n__version__ = "{version}"\n'}
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    pure = "true" if tag.endswith("-none-any") else "false"
    wheel = f"Wheel-Version: {wheel_version}\nGenerator: synthetic\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    content: dict[str, bytes | str] = {**files}
    content |= {f"{stem}.data/{path}": body for path, body in (data or {}).items()}
    content |= {f"{info}/METADATA": "\n".join([*lines, "", ""]), f"{info}/WHEEL": wheel}
    if entry_points is not None:
        content[f"{info}/entry_points.txt"] = entry_points
    content |= {f"{info}/{path}": body for path, body in (metadata or {}).items()}

    modes = modes or {}
    members = []
    for path, body in content.items():
        raw = body.encode() if isinstance(body, str) else body
        mode = 0o100000 | modes.get(path, 0o644)
        members.append(Member(path, raw, mode=mode, method=method, zip64=zip64))
    record = "".join(f"{m.name},{record_hash(m.data)},{len(m.data)}\n" for m in members) + f"{info}/RECORD,,\n"
    members.append(Member(f"{info}/RECORD", record.encode(), method=method, zip64=zip64))
    if mutate is not None:
        members = (MUTATIONS[mutate] if isinstance(mutate, str) else mutate)(members)
    blob = write_zip(members, compress=compress)
    if mutate == "truncated":
        blob = blob[: len(blob) // 2]
    if mutate == "not-a-zip":
        blob = b"<html>not found</html>"
    path = directory / f"{stem}-{tag}.whl"
    path.write_bytes(blob)
    return path


# -- what can be wrong with a wheel ------------------------------------------------------------------
# The first member is the package's first file: what has to be broken in a member is broken there.


def _first(**changes: object) -> Mutation:
    return lambda members: [replace(members[0], **changes), *members[1:]]  # type: ignore[arg-type]


def _recorded(name: str, data: bytes = b"evil\n", **changes: object) -> Mutation:
    """One more member, listed in RECORD as it should be."""

    def mutate(members: list[Member]) -> list[Member]:
        shown = f'"{name}"' if "," in name or "\n" in name else name
        members = _record(lambda text: f"{shown},{record_hash(data)},{len(data)}\n" + text)(members)
        return [replace(Member(name, data), **changes), *members]  # type: ignore[arg-type]

    return mutate


def _record(change: Callable[[str], str]) -> Mutation:
    def mutate(members: list[Member]) -> list[Member]:
        return [
            replace(m, data=change(m.data.decode()).encode()) if m.name.endswith(".dist-info/RECORD") else m
            for m in members
        ]

    return mutate


def _without(suffix: str) -> Mutation:
    return lambda members: [m for m in members if not m.name.endswith(suffix)]


def _bad_stream(members: list[Member]) -> list[Member]:
    raw = deflate_with_zlib(members[0].data)
    return _first(raw=raw[: len(raw) // 2])(members)


def _trailing(members: list[Member]) -> list[Member]:
    return _first(raw=deflate_with_zlib(members[0].data) + b"\0\0\0")(members)


def _wrong_size(members: list[Member]) -> list[Member]:
    """The zip directory and RECORD agree on a size that the stream does not have."""
    wrong = len(members[0].data) + 1
    right = f",{len(members[0].data)}\n"
    return _first(size=wrong)(_record(lambda t: t.replace(right, f",{wrong}\n", 1))(members))


MUTATIONS: dict[str, Mutation] = {
    "absolute": _recorded("/etc/evil"),
    "backslash": _recorded("evil\\evil.py"),
    "bad-crc": _first(crc=0xDEADBEEF),
    "bad-stream": _bad_stream,
    "bad-utf8-metadata": lambda m: [replace(x, data=b"\xff\xfe") if x.name.endswith("/WHEEL") else x for x in m],
    "bzip2": _first(method=12),
    "zstandard": _first(method=93),
    "dot-component": _recorded("evil/./evil.py"),
    "duplicate": lambda members: [members[0], *members],
    "empty-component": _recorded("evil//evil.py"),
    "encrypted": _first(flags=1),
    "file-is-directory": lambda members: _recorded(members[0].name + "/evil.py")(members),
    "local-crc": _first(local_crc=1),
    "local-name": _first(local_name="x" * 20),
    "no-dist-info": lambda members: [m for m in members if ".dist-info/" not in m.name],
    "no-record": _without(".dist-info/RECORD"),
    "no-wheel-file": lambda members: _record(
        lambda t: "".join(row for row in t.splitlines(True) if "/WHEEL," not in row)
    )(_without(".dist-info/WHEEL")(members)),
    "not-a-zip": lambda members: members,
    "nul": _recorded("evil\0.py"),
    "record-hash": _record(lambda t: t.replace("sha256=", "sha256=AAAA", 1)),
    "record-hash-value": _record(lambda t: t.replace(t.split("sha256=")[1][:43], record_hash(b"other")[7:], 1)),
    "record-misses": _record(lambda t: t.split("\n", 1)[1]),
    "record-missing-file": _record(lambda t: f"gone.py,{record_hash(b'')},0\n" + t),
    "record-size": _record(lambda t: t.replace("\n", "1\n", 1)),
    "record-unhashed": _record(lambda t: t.split(",", 1)[0] + ",,\n" + t.split("\n", 1)[1]),
    "symlink": _recorded("evil", b"/etc/passwd", mode=0o120777),
    "trailing-bytes": _trailing,
    "truncated": lambda members: members,
    "two-dist-info": _recorded("other-1.0.dist-info/METADATA"),
    "unknown-scheme": lambda members: _recorded(
        next(m.name for m in members if m.name.endswith("/WHEEL")).replace(".dist-info/WHEEL", ".data/elsewhere/x")
    )(members),
    "wheel-version": lambda m: [
        replace(x, data=x.data.replace(b"Wheel-Version: 1.0", b"Wheel-Version: 2.0"))
        if x.name.endswith(".dist-info/WHEEL")
        else x
        for x in m
    ],
    "whiteout": _recorded("evil/.wh.passwd"),
    "wrong-size": _wrong_size,
    "zip-slip": _recorded("../../evil.py"),
}
