"""Unpacked trees and their seals: what was put into a folder, and whether that, and nothing else, is still there.

The files of a seal are ``seal_files``'s. Its state is to a tree what ``checked`` is to an artifact: a look that finds
all as it lay costs an lstat(2) an entry, and what lies otherwise is hashed. No ctime and no number of links: both
change whenever another root shares the file, or goes. So a file counts as it was while inode, size, mode and mtime are.

A seal tells of a task that got out, of a crash, a disk that rots, a program of the same user that cleans up. It binds
nobody who may write to the store and means to deceive: he can write a seal, too. Never repairs.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import TypeAlias

from .checked import GRANULARITY
from .seal_files import (
    Difference,
    Unsealed,
    as_bytes,
    checked_listing,
    entries,
    find_listing,
    lies,
    split,
    state,
    write_seal,
    write_state,
)

__all__ = ["Difference", "Examiner", "extend", "records", "seal"]

_EMPTY = hashlib.sha256().hexdigest()
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CHUNK = 1 << 18
_NAMED = attrgetter("name")
# Fewer files are not worth threads.
_FEW = 8


def seal(
    tree: Path,
    final: Path,
    of: str,
    layers: Sequence[tuple[str, str]],
    known: Callable[[str], str | None],
    made: Mapping[int, str] | None = None,
) -> str:
    """Seal ``tree``, which will be ``final``; the seal's digest.

    ``layers`` are (diff_id, seal) of what a root was made of. ``known`` tells of a file that lies like this (``MODE
    INODE SIZE MTIME``) the SHA-256 in hex that whoever wrote it saw; ``None``: it is read. ``made`` says how files of
    the tree lie, by inode, as whoever made them saw it just now: they are not looked at once more. One that is changed
    meanwhile lies otherwise than its seal says, which the next look finds.
    """
    lying = Examiner(made).lie(tree)
    sealed = [
        f"{path}\0{_content(tree, path, record, known(record) if _is_file(record) else None)}"
        for path, record in split(lying)
    ]
    return write_seal(final, of, layers, sealed, lying)


def extend(
    tree: Path, of: str, layers: Sequence[tuple[str, str]], made: Mapping[str, str], examiner: Examiner
) -> str | None:
    """Seal a tree anew to which something was added since ``examiner`` found it as sealed; the seal's digest.

    ``layers`` as for :func:`seal`. ``made``: how the files that were added lie → their SHA-256 in hex; folders may be
    new, too. ``None``, and nothing is written, where anything else is not as it was.
    """
    try:
        listing = checked_listing(tree, of, [diff_id for diff_id, _ in layers])
        sealed, lay = entries(tree, listing), state(tree, listing)[1]
        lying = examiner.lie(tree)
    except (Unsealed, OSError):
        return None
    lines, kept = [], 0
    for path, record in split(lying):
        content = sealed.get(path)
        if content is not None:
            if lay.get(path) != record:
                return None
            kept += 1
        elif path.endswith("/"):
            content = record
        elif (digest := made.get(record)) is None or not _is_file(record):
            return None
        else:
            content = _content(tree, path, record, digest)
        lines.append(f"{path}\0{content}")
    return write_seal(tree, of, layers, lines, lying) if kept == len(sealed) else None


def records(tree: Path) -> Mapping[str, str]:
    """How each file of a tree that was just found as sealed lies → its SHA-256 in hex, for :func:`seal`."""
    listing = find_listing(tree)
    if listing is None:
        return {}
    with suppress(Unsealed):
        sealed, lay = entries(tree, listing), state(tree, listing)[1]
        return {r: sealed[p].rpartition(" ")[2] for p, r in lay.items() if _is_file(r) and p in sealed}
    return {}


Lister: TypeAlias = Callable[[Path], bytes | None]


class Examiner:
    """Looks at trees. A file that several of them share is hashed once, and looked at once; so it is for one moment.

    ``made``: how files lie that need not be looked at at all, by inode; of the first tree's file system. ``lister``
    gives the text of :meth:`lie` sooner, and looks at every file; ``None`` of it: it is done here.
    """

    def __init__(self, made: Mapping[int, str] | None = None, lister: Lister = lambda _: None) -> None:
        self._made = dict(made or {})
        self._lister = lister
        self._lying: dict[int, dict[int, str]] = {}
        self._hashed: dict[str, str] = {}

    def lie(self, tree: Path) -> list[str]:
        """``PATH NUL MODE INODE SIZE MTIME`` of every entry, in an order that depends on the names alone.

        Raises ``OSError`` where the tree is no folder or cannot be listed.
        """
        text = self._lister(tree)
        return self._lie(tree) if text is None else text.decode("utf-8", "surrogateescape").split("\n")

    def _text(self, tree: Path) -> bytes:
        text = self._lister(tree)
        return as_bytes(self._lie(tree)) if text is None else text

    def _lie(self, tree: Path) -> list[str]:
        top = os.open(tree, _FOLDER)
        try:
            found = os.fstat(top)
        finally:
            os.close(top)
        known = self._lying.setdefault(found.st_dev, {} if self._lying else self._made)
        out = [f"/\0{found.st_mode:o}"]
        below = [""]
        while below:
            prefix = below.pop()
            folder = os.open(f"{tree}/{prefix}", _FOLDER)
            try:
                with os.scandir(folder) as names:
                    for entry in sorted(names, key=_NAMED):
                        path = prefix + entry.name
                        if entry.is_dir(follow_symlinks=False):
                            out.append(f"{path}/\0{entry.stat(follow_symlinks=False).st_mode:o}")
                            below.append(f"{path}/")
                            continue
                        inode = entry.inode()
                        record = known.get(inode)
                        if record is None:
                            record = known[inode] = lies(entry.stat(follow_symlinks=False))
                        out.append(f"{path}\0{record}")
            finally:
                os.close(folder)
        return out

    def look(
        self,
        tree: Path,
        of: str,
        layers: Sequence[str] | None = None,
        *,
        full: bool = False,
        advance: Callable[[int], None] | None = None,
    ) -> tuple[Difference, ...]:
        """What is not as it was sealed, by path; empty where all is.

        ``of`` and ``layers`` are what the tree has to be the tree of. ``full``: every file is hashed, whatever the
        state says. Where only the state was old, it is written anew (as far as this may be written).
        """
        try:
            listing = checked_listing(tree, of, layers)
            started = time.time_ns()
            text = self._text(tree)
            said, lay = state(tree, listing, hashlib.sha256(text).hexdigest())
            if said and not full:
                return ()
            sealed = entries(tree, listing)
        except Unsealed as e:
            return (e.difference,)
        except OSError as e:
            return (Difference("/", "a folder", f"none that can be read: {e.strerror or e}"),)
        now = dict(split(text.decode("utf-8", "surrogateescape").split("\n")))
        doubted = {p: r for p, r in now.items() if p in sealed and (full or lay.get(p) != r)}
        self._hash(tree, doubted, sealed, advance)
        out = [Difference(p, _described(sealed[p]), "nothing") for p in sealed.keys() - now.keys()]
        out += [Difference(p, "nothing", _described(_content(tree, p, now[p], ""))) for p in now.keys() - sealed.keys()]
        for path, record in doubted.items():
            found = _content(tree, path, record, self._hashed.get(record, ""))
            if found != sealed[path]:
                out.append(Difference(path, _described(sealed[path]), _described(found)))
        if not out and not said and all(started - _mtime(r) > GRANULARITY for r in doubted.values()):
            with suppress(OSError):
                write_state(tree, listing.seal, text)
        return tuple(sorted(out, key=lambda d: d.path))

    def _hash(
        self, tree: Path, doubted: Mapping[str, str], sealed: Mapping[str, str], advance: Callable[[int], None] | None
    ) -> None:
        """Of each file whose mode and size are right, the SHA-256; of what is elsewhere hashed already, nothing."""
        wanted = {}
        for path, record in doubted.items():
            mode, _, size = record.split(" ")[:3] if " " in record else (record, "", "")
            if _is_file(record) and sealed[path].startswith(f"{mode} {size} ") and record not in self._hashed:
                wanted[record] = path

        def one(item: tuple[str, str]) -> tuple[str, str]:
            record, path = item
            try:
                found = _hash_file(f"{tree}/{path}")
            except OSError as e:
                found = f"! {e.strerror or e}"
            if advance is not None:
                advance(int(record.split(" ")[2]))
            return record, found

        if len(wanted) < _FEW:
            self._hashed.update(map(one, wanted.items()))
            return
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            self._hashed.update(pool.map(one, wanted.items()))


def _is_file(record: str) -> bool:
    """Whether it begins with the mode of a regular file, in octal: `100644 `; a pipe's is `10644 `."""
    return record.startswith("10") and record[6:7] == " "


def _content(tree: Path, path: str, record: str, digest: str | None) -> str:
    """What a seal says of an entry that lies like this; ``digest`` of its bytes, ``None``: they are read.

    Raises ``OSError`` where they cannot be read.
    """
    mode, *rest = record.split(" ")
    if _is_file(record):
        if rest[1] == "0":
            digest = _EMPTY
        return f"{mode} {rest[1]} {_hash_file(f'{tree}/{path}') if digest is None else digest}"
    if stat.S_ISLNK(int(mode, 8)):
        try:
            return f"{mode} -> {os.readlink(f'{tree}/{path}')}"
        except OSError as e:
            return f"{mode} ! {e.strerror}"
    return mode


def _hash_file(path: str) -> str:
    digest = hashlib.sha256()
    handle = os.open(path, _FILE)
    try:
        while block := os.read(handle, _CHUNK):
            digest.update(block)
    finally:
        os.close(handle)
    return digest.hexdigest()


def _described(content: str) -> str:
    """A seal's words for an entry, for a person."""
    mode, _, rest = content.partition(" ")
    kind, bits = stat.S_IFMT(int(mode, 8)), f"mode {stat.S_IMODE(int(mode, 8)):04o}"
    if kind == stat.S_IFLNK:
        return f"a link to `{rest[3:]}`"
    if kind == stat.S_IFDIR:
        return f"a folder with {bits}"
    if kind != stat.S_IFREG:
        return "neither file nor folder nor link"
    size, _, digest = rest.partition(" ")
    if digest.startswith("!"):
        return f"a file with {bits}, {size} bytes that cannot be read: {digest[2:]}"
    return f"a file with {bits}, {size} bytes" + (f", SHA-256 {digest}" if digest else "")


def _mtime(record: str) -> int:
    return int(record.rpartition(" ")[2]) if " " in record else 0
