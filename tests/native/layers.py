"""Layers of every kind, drawn from a seed: what the core has to make as Python's assembler does."""

from __future__ import annotations

import hashlib
import random
import zlib
from pathlib import Path

from flyte_build.assemble.entries import Content, Deflated, Entry, Plain

__all__ = ["content", "deflated", "draw"]

_STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)
_PARTS = ("a", "lib", "python3.11", "site-packages", "x" * 40, "y" * 99, "données", "z" * 130, "_")


def content(r: random.Random, most: int) -> bytes:
    """Up to ``most`` bytes: runs, words, noise, one after the other."""
    size, made = r.choice((r.randrange(8), r.randrange(700), r.randrange(most))), bytearray()
    while len(made) < size:
        kind, length = r.randrange(4), r.choice((1, 3, 4, 5, 258, 259, 262, r.randrange(1, 2000)))
        if kind == 0:
            made += bytes([r.choice((0, 48, 200))]) * length
        elif kind == 1:
            made += r.randbytes(length)
        elif kind == 2 and made:
            at = r.randrange(len(made))
            made += (made[at : at + 1 + length] * 3)[:length]
        else:
            made += b"".join(r.choice((b"def ", b"return ", b"    ", b"self.", b"\n")) for _ in range(length // 4 + 1))
    return bytes(made[:size])


def deflated(r: random.Random, data: bytes) -> bytes:
    """A DEFLATE stream of ``data``: any of zlib's ways, with blocks that end anywhere."""
    level, strategy = r.choice((0, 1, 1, 6, 6, 9)), r.choice(_STRATEGIES)
    made = zlib.compressobj(level, zlib.DEFLATED, -r.randrange(9, 16), r.randrange(1, 10), strategy)
    out = b""
    if r.random() < 0.2:
        cut = r.randrange(len(data) + 1)
        out = made.compress(data[:cut]) + made.flush(
            r.choice((zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH))
        )
        data = data[cut:]
    return out + made.compress(data) + made.flush()


def draw(r: random.Random, folder: Path, most: int = 6000) -> list[Entry]:
    """The entries of a layer, whose segments lie in files of ``folder``; contents have up to ``most`` bytes."""
    files = [bytearray(b"before"), bytearray(r.randbytes(r.randrange(9)))]
    entries = {}
    for number in range(r.choice((0, 1, 2, 5, r.randrange(40)))):
        path = "/".join([*(r.choice(_PARTS) for _ in range(r.randrange(5))), f"{r.choice(_PARTS)}{number}"])
        entries[path] = _entry(r, path, files, folder, most)
    for number, data in enumerate(files):
        (folder / f"{number}").write_bytes(data + b"after")
    return sorted(entries.values(), key=lambda entry: entry.path.encode())


def _entry(r: random.Random, path: str, files: list[bytearray], folder: Path, most: int) -> Entry:
    uid, gid = (r.choice((0, 1000, 0o7777777, 0o10000000)) if r.random() < 0.1 else 0 for _ in range(2))
    xattrs = (("security.capability", b"\1\0\n"),) if r.random() < 0.03 else ()
    kind, mode = r.choice(("dir", "symlink", "hardlink", *("file",) * 12)), r.choice((0o644, 0o755, 0o4755, 0o1777, 0))
    if kind == "dir":
        return Entry(path, "dir", mode, uid=uid, gid=gid, xattrs=xattrs)
    if kind in ("symlink", "hardlink"):
        link = r.choice(("x", "../" * r.randrange(40) + "é", "a/b" * r.randrange(1, 40)))
        return Entry(path, kind, mode, link=link, uid=uid, gid=gid)  # type: ignore[arg-type]
    return Entry(path, "file", mode, _content(r, files, folder, most), uid=uid, gid=gid, xattrs=xattrs)


def _content(r: random.Random, files: list[bytearray], folder: Path, most: int) -> Content:
    kind = r.randrange(10)
    if kind == 0:
        return ()
    if kind == 1:
        return tuple(content(r, r.choice((200, 70_000))) for _ in range(r.randrange(1, 3)))
    lying = _lying(r, files, folder, most)
    return (lying, content(r, 300)) if kind == 2 and lying.crc32 is not None else (lying,)


def _lying(r: random.Random, files: list[bytearray], folder: Path, most: int) -> Deflated | Plain:
    data, number = content(r, most), r.randrange(len(files))
    hashed = ("sha256", hashlib.sha256(data).digest()) if r.random() < 0.5 else None
    offset, path = len(files[number]), str(folder / f"{number}")
    if r.random() < 0.3:
        files[number] += data
        return Plain(path, offset, len(data), zlib.crc32(data) if r.random() < 0.5 else None, hashed)
    raw = deflated(r, data)
    files[number] += raw
    return Deflated(path, offset, len(raw), len(data), zlib.crc32(data), hashed)
