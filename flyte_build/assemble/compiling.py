"""Modules of a layer → their bytecode, canonically encoded: run by the image's own interpreter, as a script of its own.

    python -I -S -B compiling.py LAYER OUT [--jobs N] FOLDER ...

LAYER is a tar (gzip or not), FOLDER a path in it below which modules are compiled. Imports nothing of ours and needs
Python 3.10 only, because it is the image that chooses the interpreter. Never runs a module: ``compile`` parses it.
OUT is a line of JSON (``version``, ``magic``, ``rows`` of path and size; 0: it is a link, null: it does not compile),
then the files of bytecode, one after the other, in the order of the rows. ``docs/bytecode.md`` states the rules.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import re
import struct
import sys
import tarfile
import warnings
import zlib
from types import CodeType
from typing import IO, BinaryIO, cast

HEADER = importlib.util.MAGIC_NUMBER + struct.pack("<I", 1)
"""PEP 552: the magic number, and flags that say: by hash, unchecked."""

_BLOCK = 1 << 16
_LARGEST = 64 << 20  # bytes of a module
_TESTS = re.compile(r"/tests/|/lib/python3\.\d+/(test|idlelib/idle_test)/")
_MODERN = sys.version_info >= (3, 11)
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
# Marshal's types of a fixed size, and those that are a length of four or one bytes and as many bytes.
_FIXED = {b"N": 0, b"F": 0, b"T": 0, b"S": 0, b".": 0, b"0": 0, b"i": 4, b"g": 8, b"y": 16}
_TEXTS = {b"u": 4, b"t": 4, b"a": 4, b"A": 4, b"z": 1, b"Z": 1}


class _Text(bytes):
    """A string in UTF-8, not yet encoded: whether it is interned depends on where it stands."""

    __slots__ = ()


class _Reader:
    """One marshalled object (CPython's ``Python/marshal.c``, versions 2 to 5), written again without references."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._seen: list[bytes] = []

    def object(self, names: bool = False) -> bytes:
        """The next object, canonical. ``names``: strings are names, which the interpreter interns."""
        found = self._next(names)
        return _encoded(found, names) if type(found) is _Text else found

    def _take(self, count: int) -> bytes:
        start, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise ValueError("marshalled data ends too soon")
        return self._data[start : self._at]

    def _length(self, size: int = 4) -> int:
        return int.from_bytes(self._take(size), "little")

    def _next(self, names: bool) -> bytes:
        first = self._take(1)[0]
        kind = bytes((first & 0x7F,))
        if kind == b"r":
            return self._seen[self._length()]
        place = len(self._seen)
        if first & 0x80:
            self._seen.append(b"")
        made = self._made(kind, names)
        if first & 0x80:
            self._seen[place] = made
        return made

    def _made(self, kind: bytes, names: bool) -> bytes:
        if kind in _TEXTS:
            return _Text(self._take(self._length(_TEXTS[kind])))
        if kind in _FIXED:
            return kind + self._take(_FIXED[kind])
        if kind == b"s":
            size = self._take(4)
            return kind + size + self._take(int.from_bytes(size, "little"))
        if kind == b"l":
            size = self._take(4)
            return kind + size + self._take(2 * abs(int.from_bytes(size, "little", signed=True)))
        if kind in (b")", b"("):
            count = self._length(1 if kind == b")" else 4)
            start = b")" + bytes((count,)) if count < 256 else b"(" + struct.pack("<I", count)
            return start + b"".join([self.object(names) for _ in range(count)])
        if kind == b">":
            count = self._length()
            return b">" + struct.pack("<I", count) + b"".join(sorted(self.object() for _ in range(count)))
        if kind == b":":
            return b":" + self.object() + self.object() + self.object()
        if kind == b"c":
            return b"c" + self._code()
        raise ValueError(f"marshalled data of type {kind!r}, which is not known")

    def _code(self) -> bytes:
        if _MODERN:
            # argcount, posonlyargcount, kwonlyargcount, stacksize, flags; code, consts; names, localsplusnames;
            # localspluskinds; filename, name, qualname; firstlineno; linetable, exceptiontable
            return b"".join((
                self._take(20), self.object(), self.object(), self.object(True), self.object(True), self.object(),
                self.object(True), self.object(True), self.object(True), self._take(4), self.object(), self.object(),
            ))  # fmt: skip
        # ... nlocals, stacksize, flags; code, consts; names, varnames, freevars, cellvars, filename, name;
        # firstlineno; linetable
        parts = [self._take(24), self.object(), self.object(), *(self.object(True) for _ in range(6))]
        return b"".join((*parts, self._take(4), self.object()))


def _encoded(text: bytes, names: bool) -> bytes:
    """A string: the shortest form that it has, interned where it is a name or reads like one."""
    inner = names or _WORD.issuperset(text)
    if not text.isascii():
        return (b"t" if inner else b"u") + struct.pack("<I", len(text)) + text
    if len(text) < 256:
        return (b"Z" if inner else b"z") + bytes((len(text),)) + text
    return (b"A" if inner else b"a") + struct.pack("<I", len(text)) + text


def canonical(code: CodeType) -> bytes:
    """The bytes of ``code`` (a code object) in a module's file: a function of its value alone."""
    return _Reader(marshal.dumps(code)).object()


def bytecode(source: bytes, path: str) -> bytes | None:
    """The file of bytecode of the module ``source`` (bytes) at ``path`` (absolute); ``None``: it does not compile."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    return HEADER + importlib.util.source_hash(source) + canonical(code)


class _Plain:
    """The tar in the file ``raw``. ``tarfile``'s own streams end with the first member of a gzip file."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self._ready, self._at, self._left = raw, b"", 0, raw.read(_BLOCK)
        self._one = zlib.decompressobj(31) if self._left[:2] == b"\x1f\x8b" else None

    def read(self, size: int) -> bytes:
        while len(self._ready) - self._at < size and (data := self._left or self._raw.read(_BLOCK)):
            self._left = b""
            if self._one is not None:
                if self._one.eof:
                    self._one = zlib.decompressobj(31)
                inflated = self._one.decompress(data)
                self._left = self._one.unused_data
                data = inflated
            self._ready, self._at = self._ready[self._at :] + data, 0
        self._at += size
        return self._ready[self._at - size : self._at]


def modules(layer: str, folders: tuple[str, ...]) -> dict[str, bytes | None]:
    """Path → content of the modules below ``folders``, by path; ``None`` for what is called so, and is no file.

    Without tests, which nobody imports and which are half of pandas: folders called ``tests``, and Python's own.
    """
    found: dict[str, bytes | None] = {}
    with open(layer, "rb") as raw, tarfile.open(fileobj=cast("IO[bytes]", _Plain(raw)), mode="r|") as tar:
        for member in tar:
            path = member.name.lstrip("/")
            if member.isdir() or not path.startswith(folders) or not path.endswith(".py") or _TESTS.search(path):
                continue
            content = tar.extractfile(member) if member.isreg() and member.size <= _LARGEST else None
            if member.islnk():
                found[path] = found.get(member.linkname.lstrip("/"))
            else:
                found[path] = content.read() if content is not None else None
    return dict(sorted(found.items()))


def _write(out: str, rows: list[str], found: dict[str, bytes | None]) -> None:
    """Compile what ``rows`` name into the file ``out``, with the size of each behind them."""
    sizes: list[int | None] = []
    with open(out, "wb") as f:
        for path in rows:
            source = found[path]
            made = bytecode(source, "/" + path) if source is not None else b""
            f.write(made or b"")
            sizes.append(len(made) if made is not None else None)
        told = json.dumps(sizes).encode()
        f.write(told + struct.pack("<Q", len(told)))


def _parts(found: dict[str, bytes | None], count: int) -> list[list[str]]:
    """The paths in at most ``count`` rows of about as many bytes, in their order."""
    whole = sum(len(content or b"") for content in found.values()) // count + 1
    parts: list[list[str]] = [[]]
    size = 0
    for path, content in found.items():
        if size >= whole * len(parts):
            parts.append([])
        parts[-1].append(path)
        size += len(content or b"")
    return parts


def _compile(found: dict[str, bytes | None], out: str, jobs: int) -> int:
    """All of ``found``, in as many processes as ``jobs``: contents in the files ``OUT.0``, …, and their sizes."""
    parts = _parts(found, jobs)
    children = []
    for number, rows in enumerate(parts):
        if len(parts) == 1:
            _write(f"{out}.0", rows, found)
            break
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _write(f"{out}.{number}", rows, found)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        sys.exit("error: a process that compiles was killed")
    return len(parts)


def run(layer: str, out: str, folders: list[str], jobs: int) -> None:
    """Do what the module's docstring says."""
    found = modules(layer, tuple(folder.strip("/") + "/" for folder in folders))
    count = _compile(found, out, jobs)
    parts: list[bytes] = []
    sizes: list[int | None] = []
    for number in range(count):
        with open(f"{out}.{number}", "rb") as f:
            data = f.read()
        os.unlink(f"{out}.{number}")
        end = len(data) - 8 - struct.unpack("<Q", data[-8:])[0]
        sizes += json.loads(data[end:-8])
        parts.append(data[:end])
    version = "{}.{}.{}".format(*sys.version_info[:3])
    head = {"version": version, "magic": HEADER[:4].hex(), "rows": list(zip(found, sizes, strict=True))}
    with open(out, "wb") as f:
        f.write(json.dumps(head).encode() + b"\n")
        f.writelines(parts)


def main(words: list[str]) -> None:
    jobs = os.cpu_count() or 1
    if "--jobs" in words:
        at = words.index("--jobs")
        jobs = int(words[at + 1])
        del words[at : at + 2]
    if len(words) < 3:
        sys.exit("usage: compiling.py LAYER OUT [--jobs N] FOLDER ...")
    run(words[0], words[1], words[2:], jobs)


if __name__ == "__main__":
    main(sys.argv[1:])
