"""One plain tar from members that are known beforehand: their names, sizes and hashes.

The bytes are a function of the members alone (the headers are the assembler's own normal form), they are made as they
are read, so memory stays flat, and a member whose bytes are not those of its hash ends the work: an archive is never
finished with a damaged blob in it. A file appears whole or not at all. Never reads an archive, never compresses.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..assemble.entries import Entry, Plain
from ..assemble.tar import BLOCK, END, header, padding
from ..kernel.errors import InputError, StoreError
from ..kernel.outputs import output
from ..kernel.reporting import Reporter
from ..store.checked import damaged
from ..store.files import CHUNK, hash_file

__all__ = ["Member", "check_target", "head", "member", "stream", "total", "write"]

_MAGIC = slice(257, 262)


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the archive: ``size`` in bytes, ``sha256`` in hex, ``content`` the bytes or the file that has them.

    ``store``: the root of the store that the file is in, where it is moved aside if it is not as stated. ``name``: what
    a person calls it.
    """

    path: str
    size: int
    sha256: str
    content: bytes | Path
    store: Path | None = None
    name: str = ""


def member(path: str, data: bytes) -> Member:
    """A member that holds ``data``."""
    return Member(path, len(data), hashlib.sha256(data).hexdigest(), data)


def head(path: str, size: int) -> bytes:
    """What precedes the content of the file ``path`` of ``size`` bytes: owner 0, mode 0644, the assembler's time."""
    return b"".join(header(Entry(path, "file", 0o644, (Plain("", 0, size),))))


def total(members: Iterable[Member]) -> int:
    """The archive's size in bytes."""
    return sum(len(head(m.path, m.size)) + m.size + len(padding(m.size)) for m in members) + len(END)


def stream(members: Iterable[Member]) -> Iterator[bytes]:
    """The archive, piece by piece. Raises :class:`StoreError` where a file is not what its member says, or
    :class:`FetchError` where it is an artifact."""
    for one in members:
        yield head(one.path, one.size)
        yield from [one.content] if isinstance(one.content, bytes) else _file(one, one.content)
        yield padding(one.size)
    yield END


def _file(one: Member, path: Path) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    with _reading(path), open(path, "rb", buffering=0) as f:
        while chunk := f.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if size > one.size:
                break
            yield chunk
    if size != one.size or digest.hexdigest() != one.sha256:
        if one.store is not None:
            raise damaged(one.store, path, hash_file(path)[0], one.name)
        raise StoreError(
            f"{path}: expected {one.size} bytes with SHA-256 {one.sha256}, found others",
            hint="run `flyte-build store verify`, then run this again",
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise StoreError(
            f"{path}: cannot be read: {e.strerror or e}", hint="`flyte-build build` makes it anew: then run this again"
        ) from e


def check_target(path: Path, what: str) -> None:
    """Raise :class:`InputError` unless ``path`` is free, empty, or a tar archive, which may be replaced."""
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_file():
        raise InputError(f"{path}: expected the name of a file to write {what} to, found something else")
    try:
        with open(path, "rb") as f:
            start = f.read(BLOCK)
    except OSError as e:
        raise InputError(f"{path}: cannot be read: {e.strerror or e}") from None
    if start and start[_MAGIC] != b"ustar":
        raise InputError(
            f"{path}: expected no file, or an archive to replace; found another file", hint="name a new file"
        )


def write(path: Path, members: Sequence[Member], reporter: Reporter, title: str) -> str:
    """Write the archive to ``path``, whole or not at all; gives its SHA-256 in hex.

    Raises :class:`StoreError` where a member is not as stated or the disk refuses; then ``path`` is as it was.
    """
    digest = hashlib.sha256()
    size = total(members)
    with reporter.work(title, size, unit="bytes") as progress, output(path, size) as out:
        for piece in stream(members):
            out.write(piece)
            digest.update(piece)
            progress.advance(len(piece))
    return digest.hexdigest()
