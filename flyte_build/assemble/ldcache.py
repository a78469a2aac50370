"""``/etc/ld.so.cache`` for a tree that nobody has booted: what ``ldconfig`` would write there.

The dynamic linker looks libraries up in this file before it looks into folders, and
``ctypes.util.find_library`` asks ``ldconfig -p``, which reads nothing else. The format is glibc's
"new" one, and the order of the entries is part of it, because the linker searches by halves: names
descending, runs of digits compared as numbers, and a digit above any other character.

Never made here: entries for ``glibc-hwcaps`` folders (the linker then takes the baseline variant, as on
an older processor), ``/var/cache/ldconfig``, and links to replace ones a package has already.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .debian import Tree, read
from .elf import AARCH64, I386, X86_64, SharedObject, shared_object
from .entries import Entry, Plain

__all__ = ["Library", "cache_bytes", "ld_so_cache", "libraries", "search_directories"]

_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("<20sIIB3xI12x")
_ENTRY = struct.Struct("<iIIIQ")
_LITTLE_ENDIAN = 2
# glibc's dl-cache.h: the low byte says "ELF, for libc 6", the next one the ABI.
_ELF_LIBC6 = 0x0003
_ABI = {(I386, 32): 0, (X86_64, 64): 0x0300, (X86_64, 32): 0x0800, (AARCH64, 64): 0x0A00}
_TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
_LIBRARY_NAME = re.compile(r"(lib.*|ld-.*)\.so.*|ld(64)?\.so\..*")
_RUNS = re.compile(r"[0-9]+|[^0-9]")


@dataclass(frozen=True, slots=True)
class Library:
    """One entry of the cache: ``path`` is absolute and ends in ``name``; ``flags`` as in dl-cache.h.

    ``file`` is the name in its folder of the file that ``path`` shall lead to.
    """

    name: str
    path: str
    flags: int
    file: str


def ld_so_cache(tree: Tree, architecture: str) -> tuple[bytes, list[Entry]]:
    """The cache's bytes for ``tree``, and the soname links it relies on that are not in the tree.

    ``architecture`` is Debian's name of it.
    """
    found = list(libraries(tree, search_directories(tree, architecture)))
    links = []
    for library in found:
        folder = tree.real(posixpath.dirname(library.path))
        path = f"{folder}/{library.name}"
        if path not in tree.entries:
            links.append(Entry(path, "symlink", 0o777, link=library.file))
    return cache_bytes(found), links


def search_directories(tree: Tree, architecture: str) -> list[str]:
    """The folders ``ldconfig`` looks into, as absolute paths: the configured ones, then Debian's defaults."""
    directories = list(_configured(tree, "etc/ld.so.conf", 0))
    triplet = _TRIPLETS.get(architecture)
    if triplet is not None:
        directories += [f"/lib/{triplet}", f"/usr/lib/{triplet}"]
    directories += ["/lib", "/usr/lib"]
    known: dict[str, str] = {}
    for directory in directories:
        real = tree.real(directory)
        if real is not None and tree.entries[real].kind == "dir":
            known.setdefault(real, directory)
    return list(known.values())


def _configured(tree: Tree, path: str, depth: int) -> Iterator[str]:
    """ldconfig(8): a folder a line, ``#`` comments, ``include`` with a pattern."""
    entry = tree.file(path)
    if entry is None or depth > 8:
        return
    for line in read(entry.content).decode("utf-8", "surrogateescape").splitlines():
        words = line.partition("#")[0].split()
        if len(words) >= 2 and words[0] == "include":
            for pattern in words[1:]:
                absolute = posixpath.join("/", posixpath.dirname(path), pattern).lstrip("/")
                for match in sorted(p for p in tree.entries if _matches(p, absolute)):
                    yield from _configured(tree, match, depth + 1)
        elif words and words[0].startswith("/"):
            yield posixpath.normpath(words[0].partition("=")[0])


def _matches(path: str, pattern: str) -> bool:
    one, two = path.split("/"), pattern.split("/")
    return len(one) == len(two) and all(map(fnmatch.fnmatchcase, one, two))


def libraries(tree: Tree, directories: Iterable[str]) -> Iterator[Library]:
    """The libraries in each folder: one for each soname, the file with the highest version."""
    wanted = {tree.real(d): d for d in directories}
    names: dict[str, list[str]] = {d: [] for d in wanted.values()}
    for path in sorted(tree.entries):
        folder, _, name = path.rpartition("/")
        if folder in wanted and _LIBRARY_NAME.fullmatch(name):
            names[wanted[folder]].append(name)
    for directory, found in names.items():
        best: dict[str, tuple[bool, Library]] = {}
        for name in found:
            candidate = _library(tree, directory, name)
            if candidate is None:
                continue
            is_link, library = candidate
            there = best.get(library.name)
            # A file beats a link, a higher version a lower one.
            if there is None or (not is_link, _order(name)) > (not there[0], _order(there[1].file)):
                best[library.name] = candidate
        yield from (library for _, library in best.values())


def _library(tree: Tree, directory: str, name: str) -> tuple[bool, Library] | None:
    """The entry that the file ``name`` stands for, and whether it is but a link to it."""
    path = f"{tree.real(directory)}/{name}"
    entry = tree.file(path)
    library = None if entry is None else _inspect(entry)
    if library is None or (library.machine, library.bits) not in _ABI:
        return None
    flags = _ELF_LIBC6 | _ABI[library.machine, library.bits]
    soname = library.soname or name
    is_link = tree.entries[path].kind == "symlink"
    # libfoo.so → libfoo.so.1 is for the compiler and has an entry of its own; so has the soname's link.
    if is_link and name != soname and not (name.endswith(".so") and soname.startswith(name)):
        is_link = False
    if is_link:
        soname = name
    return is_link, Library(soname, f"{directory}/{soname}", flags, name)


def _inspect(entry: Entry) -> SharedObject | None:
    if len(entry.content) != 1 or not isinstance(entry.content[0], Plain):
        return None
    segment = entry.content[0]
    with open(segment.path, "rb") as f:

        def read_at(offset: int, size: int) -> bytes:
            if offset >= segment.size:
                return b""
            f.seek(segment.offset + offset)
            return f.read(min(size, segment.size - offset))

        return shared_object(read_at)


def _order(name: str) -> tuple[tuple[int, int], ...]:
    return tuple((1, int(run)) if run.isascii() and run.isdigit() else (0, ord(run)) for run in _RUNS.findall(name))


def cache_bytes(found: Iterable[Library]) -> bytes:
    """The cache file of ``found``, which are in the order of their folders: header, entries, strings."""
    # Stable: of two folders' libraries of one name, the first folder's comes first and is the one found.
    rows = sorted(found, key=lambda library: (_order(library.name), library.flags), reverse=True)
    start = _HEADER.size + len(rows) * _ENTRY.size
    strings = bytearray()
    entries = bytearray()
    for row in rows:
        path = row.path.encode("utf-8") + b"\0"
        value = start + len(strings)
        # The name is the path's tail: one string serves both.
        key = value + len(path) - 1 - len(row.name.encode("utf-8"))
        entries += _ENTRY.pack(row.flags, key, value, 0, 0)
        strings += path
    header = _HEADER.pack(_MAGIC, len(rows), len(strings), _LITTLE_ENDIAN, 0)
    return bytes(header + entries + strings)
