"""Bytecode that this Python has of modules that an image has, too: lent to the image, where the sources are equal.

    layers/<diff hex>.<mark>/     what was borrowed for that layer, and its seal; ``mark`` is of our Python's bytecode

Most images have the Python and the packages of the environment that the run is started from, and what it imported is
compiled there. A first task would compile the same sources once more, which takes longer than to unpack them. Nothing
of an image is trusted for it, nor read: which modules it has is told by its layer's seal, by path and SHA-256, and the
bytecode is our own, of our own files of the same SHA-256, as far as our Python itself would take it, and as far as the
runtime of flyte imports it, which our files tell. It is put where
only a Python of the same version looks, and ignored by one with another magic number (PEP 552, PEP 3147). Paths of
this machine in it are replaced by those in the image.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import marshal
import os
import re
import sys
import sysconfig
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from types import CodeType

from ..kernel.values import dataclass
from ..store.locks import held
from ..store.seal_files import Unsealed, entries, find_listing, lies
from ..store.sealed import seal
from .imports import LARGEST, RUNTIME, names_in, reached
from .layers import partial
from .pyc import bytecode_of, cached, chained, linked, spread

__all__ = ["MARK", "Ours", "borrow", "lend", "lent", "read_ahead"]

_HEADER = 16
_CODE = (b"c", b"\xe3")
"""What marshalled code begins with."""
_HASHED, _MODE = 0b01, 0o644
_TAG: str | None = sys.implementation.cache_tag
# Another Python's, or ours in another way of writing it down, is beside it.
MARK = hashlib.sha256(b"borrowed 1 %s %s" % (str(_TAG).encode(), importlib.util.MAGIC_NUMBER)).hexdigest()
_READING = threading.Lock()
_VERSION = re.escape(f"python{sys.version_info[0]}.{sys.version_info[1]}{sys.abiflags}")
_PACKAGES = re.compile(rf"(?:.*/)?{_VERSION}/(?:site|dist)-packages/(.+\.py)|usr/lib/python3/dist-packages/(.+\.py)")
_STANDARD = re.compile(rf"(?:.*/)?{_VERSION}/((?!(?:site|dist)-packages/).+\.py)")


def borrow(layer: Path, locks: Path) -> Mapping[str, str] | None:
    """Keep the bytecode that our own Python has of the modules of ``layer``, an unpacked one, sealed, for its roots.

    How the files lie → their SHA-256 in hex; ``None`` where there is none, or where it is kept already. Raises
    ``OSError`` where it cannot be written.
    """
    with held(locks / f"layer-{layer.name}", shared=True), held(locks / f"borrow-{layer.name}"):
        return _borrow(layer)


def lend(
    layer: Path, root: Path, locks: Path, borrowed: Mapping[str, str] | None = None, *, asked: bool = False
) -> Mapping[str, str]:
    """Put it into ``root``; ``borrowed`` is what :func:`borrow` has just given if it was ``asked``, for it may be lent
    without it.

    How the files lie → their SHA-256 in hex. Raises as that does.
    """
    with held(locks / f"layer-{layer.name}"):
        made = borrowed if asked else _borrow(layer)
        if made is not None:
            # As it was just sealed: nobody looks at it again.
            spread(chained(layer, MARK), layer, root)
            return made
    return linked(layer, MARK, root, locks)


def _borrow(layer: Path) -> Mapping[str, str] | None:
    final = chained(layer, MARK)
    listing = find_listing(layer)
    if listing is not None and not os.path.lexists(final):
        with suppress(Unsealed):
            return _keep(lent(entries(layer, listing), _our_modules()), final, bytecode_of(layer, MARK))
    return None


def _keep(files: Iterator[tuple[str, bytes]], final: Path, of: str) -> Mapping[str, str] | None:
    """Write ``files`` of modules into ``final``, sealed as ``of`` this; how they lie → their SHA-256 in hex.

    No folder of none: then ``None``.
    """
    first = next(files, None)
    if first is None or _TAG is None:
        return None
    with partial(final) as tree:
        made, lying, folder = {}, {}, ""
        for module, data in chain((first,), files):
            path = f"{tree}/{cached(module, _TAG)}"
            if (here := os.path.dirname(path)) != folder:
                os.makedirs(here, exist_ok=True)
                folder = here
            found = _write(path, data)
            record = lying[found.st_ino] = lies(found)
            made[record] = hashlib.sha256(data).hexdigest()
        seal(tree, final, of, (), made.get, lying)
    return made


def lent(sealed: Mapping[str, str], ours: Ours) -> Iterator[tuple[str, bytes]]:
    """(module, file of bytecode) of what there is for a layer of these entries: path → ``MODE SIZE SHA-256`` for a file
    (see ``store.seal_files``). Files of ours that are not as expected are passed over."""
    if _TAG is None:
        return
    for path, content in sealed.items():
        if path.endswith(".py") and (found := ours.read.get(ours.place(path) or "")) is not None:
            digest = hashlib.sha256(found.source).hexdigest()
            if digest == content.rpartition(" ")[2] and (data := _lent(found, f"/{path}")) is not None:
                yield path, data


class Ours(Mapping[str, str]):
    """Our modules, name → file, of which those are ``read`` that importing ``starts`` leads to."""

    def __init__(self, starts: Collection[str] = RUNTIME) -> None:
        self._folders = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")]
        self._listed: dict[str, frozenset[str]] = {}
        self.read: dict[str, _File] = {}
        reached(starts, self, self._names)

    def __getitem__(self, name: str) -> str:
        above, _, last = name.rpartition(".")
        for folder in self._folders:
            within = f"{folder}/{above.replace('.', '/')}" if above else folder
            # Most names are of no module: to list each folder once is less than to ask for every one of them.
            there = self._listed_in(within)
            if f"{last}.py" in there:
                return f"{within}/{last}.py"
            if last in there and "__init__.py" in self._listed_in(f"{within}/{last}"):
                return f"{within}/{last}/__init__.py"
        raise KeyError(name)

    def place(self, path: str) -> str | None:
        """Where our Python would have the module that is at ``path`` of an image, if it had it."""
        standard, packages = self._folders
        if (found := _PACKAGES.fullmatch(path)) is not None:
            return f"{packages}/{found[1] or found[2]}"
        found = _STANDARD.fullmatch(path)
        return f"{standard}/{found[1]}" if found is not None else None

    def _listed_in(self, folder: str) -> frozenset[str]:
        names = self._listed.get(folder)
        if names is None:
            try:
                names = frozenset(os.listdir(folder))
            except OSError:
                names = frozenset()
            self._listed[folder] = names
        return names

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def _names(self, path: str, package: str) -> Collection[str]:
        with suppress(OSError), open(path, "rb", buffering=0) as f:
            lies = os.fstat(f.fileno())
            if lies.st_size <= LARGEST:
                self.read[path] = _File(path, f.read(), lies)
                return set(names_in(self.read[path].source, package))
        return ()


def _our_modules() -> Ours:
    with _READING:
        return _read_once()


@functools.cache
def _read_once() -> Ours:
    return Ours()


def read_ahead() -> None:
    """Read what is lent of our modules beside what else goes on, for the first :func:`lend` of this process."""
    threading.Thread(target=_our_modules, name="our modules", daemon=True).start()


@dataclass(frozen=True, slots=True)
class _File:
    """A file of ours: its bytes, and how it lay when they were read."""

    path: str
    source: bytes
    lies: os.stat_result


def _lent(ours: _File, inside: str) -> bytes | None:
    """The bytecode of our module, as a file for the one at ``inside``, if there is any that our Python would take."""
    try:
        with open(importlib.util.cache_from_source(ours.path, optimization=""), "rb", buffering=0) as f:
            data = f.read()
    except OSError:
        return None
    if not _believed(data[:_HEADER], ours):
        return None
    body = data[_HEADER:]
    renamed = _renamed(body, ours.path, inside)
    if not renamed:
        if (code := _code(body)) is None:
            return None
        renamed = marshal.dumps(_moved(code, code.co_filename, inside))
    head = importlib.util.MAGIC_NUMBER + _HASHED.to_bytes(4, "little") + importlib.util.source_hash(ours.source)
    return head + renamed


def _code(body: bytes) -> CodeType | None:
    """The code that is marshalled in ``body``, which may be anything."""
    try:
        code = marshal.loads(body)
    except (ValueError, EOFError, TypeError):
        return None
    return code if isinstance(code, CodeType) else None


def _renamed(body: bytes, here: str, there: str) -> bytes:
    """Marshalled code in which the text ``here`` is ``there``; nothing where that is not to be had by its bytes alone.

    A tenth of what it takes to make it of the code anew. A text stands there once, and is referred to from then on.
    Format: CPython's Python/marshal.c, the same since version 4.
    """
    text = here.encode()
    if not (here.isascii() and there.isascii() and body[:1] in _CODE and body.count(text) == 1):
        return b""
    for old, new in zip(_marshalled(here), _marshalled(there), strict=True):
        renamed = body.replace(old, new, 1)
        if renamed != body:
            return renamed
    return b""


def _marshalled(text: str) -> Iterator[bytes]:
    """ASCII text as it is marshalled: interned or not, and whether or not it is referred to."""
    data = text.encode()
    short = len(data) < 256
    size = len(data).to_bytes(1 if short else 4, "little")
    for kind in b"zZ" if short else b"aA":
        for flag in (0, 0x80):
            yield bytes((kind | flag,)) + size + data


def _believed(header: bytes, ours: _File) -> bool:
    """Whether our Python would take bytecode with this ``header`` for that of the module (PEP 552)."""
    if len(header) < _HEADER or header[:4] != importlib.util.MAGIC_NUMBER:
        return False
    flags, size = int.from_bytes(header[4:8], "little"), len(ours.source)
    if flags & _HASHED:
        return header[8:] == importlib.util.source_hash(ours.source)
    said = int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:], "little")
    return flags == 0 and size == ours.lies.st_size and said == (int(ours.lies.st_mtime) & 0xFFFFFFFF, size)


def _moved(code: CodeType, here: str, there: str) -> CodeType:
    """The same code, which says that it is of the file ``there`` wherever it said ``here``."""
    inner = tuple(_moved(c, here, there) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_consts=inner, co_filename=there if code.co_filename == here else code.co_filename)


def _write(path: str, data: bytes) -> os.stat_result:
    """How the new file lies."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        # Of a date that no later change has.
        os.utime(handle, (0, 0))
        return os.fstat(handle)
    finally:
        os.close(handle)
