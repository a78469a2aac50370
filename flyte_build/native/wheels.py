"""A layer of wheels by the core, which reads their directories and RECORDs itself where nothing about them is unusual.

``assemble/layer.py`` is the law. Python adds what no wheel has (launchers, ``INSTALLER``, rows of RECORD), and the
files of a wheel that the core does not take. Where two files have one path, or anything else is to be decided or to be
said, the layer is made from its start as ever, and so are layers of all other kinds.
"""

from __future__ import annotations

import ctypes
import os
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ..assemble.errors import AssembleError
from ..assemble.results import LayerResult
from ..assemble.version import ASSEMBLER
from .feeding import THREADS, Unfit, operation, position, results
from .library import core

if TYPE_CHECKING:
    from ..assemble.archive import Member
    from ..assemble.blob import Inflate
    from ..assemble.entries import Entry
    from ..assemble.layer import Resolve
    from ..assemble.zstd import Unpack

__all__ = ["Making", "making", "write_layer"]

# As many files are open at once.
_MOST = 200
# Bytes of the tar stream, after which it is asked whether to go on.
_STEP = 8 << 20


class _Member(ctypes.Structure):
    _fields_ = (
        ("offset", ctypes.c_uint64),
        ("csize", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("crc", ctypes.c_uint32),
        ("method", ctypes.c_int32),
    )


class _Facts(ctypes.Structure):
    _fields_ = (
        ("record", _Member),
        ("wheel", _Member),
        ("points", _Member),
        ("listed", ctypes.c_uint32),
        ("ended", ctypes.c_uint32),
        ("info", ctypes.c_char * 256),
    )


def write_layer(
    spec: Mapping[str, Any],
    resolve: Resolve,
    out: BinaryIO,
    *,
    scratch: str,
    inflating: Callable[[], Inflate] | None = None,
    progress: Callable[[int], object] | None = None,
    verify: bool = True,
    compiled: str | None = None,
    unpack: Unpack | None = None,
) -> LayerResult:
    """As :func:`flyte_build.assemble.layer.write_layer`, by the core where it is there and ``out`` is a file.

    Where the core gives up, ``progress`` hears of the bytes of the tar stream from the start again. ``inflating``
    gives what Python inflates with then (default: ``zlib``).
    """
    there = position(out)
    by_core = making(spec, resolve, verify=verify) if there is not None else None
    if by_core is not None and there is not None:
        try:
            by_core.arrange()
            by_core.open(out)
            by_core.feed()
            made = by_core.finish(progress)
        except (Unfit, OSError):
            out.seek(there)
            out.truncate()
        else:
            out.seek(there + made.size)
            return made
        finally:
            by_core.close()
    from ..assemble import layer
    from .blob import write_blob

    inflate = inflating() if inflating is not None else cast("Inflate", zlib)
    return layer.write_layer(
        spec, resolve, out, scratch=scratch, inflate=inflate, progress=progress, verify=verify, write=write_blob,
        compiled=compiled, unpack=unpack,
    )  # fmt: skip


def making(spec: Mapping[str, Any], resolve: Resolve, *, verify: bool = True) -> Making | None:
    """A layer for the core to make; ``None``: it is Python's. ``verify``: the hashes of RECORD."""
    library = core().library
    return Making(library, spec, resolve, verify) if library is not None and _suits(spec) else None


def _suits(spec: Mapping[str, Any]) -> bool:
    return (
        spec["kind"] == "wheels"
        and spec["assembler"] == ASSEMBLER
        and "part" not in spec
        and len(spec["wheels"]) <= _MOST
    )


class Making:
    """One layer, from its wheels' directories to its blob: opened and arranged, fed, finished; closed at any time.

    ``listing``: what the layer will hold, once it is arranged. ``hashes``: the SHA-256, in hex, that the artifacts had
    of which that was asked, once it is finished.
    """

    def __init__(self, library: ctypes.CDLL, spec: Mapping[str, Any], resolve: Resolve, verify: bool) -> None:
        self._library, self._spec, self._resolve, self._verify = library, spec, resolve, verify
        self._python, self._venv = spec["python"], spec["venv"]
        self._site = f"{self._venv.strip('/')}/lib/python{self._python}/site-packages".encode()
        self._files: dict[str, int] = {}
        self._warnings: list[str] = []
        self._asked: Sequence[str] = ()
        self._layout: int | None = None
        self._core: int | None = None
        self.listing: dict[str, str] = {}
        self.hashes: dict[str, str] = {}

    def open(self, out: BinaryIO, hashing: Sequence[str] = ()) -> None:
        """Have threads that will write to ``out``, and until then hash the artifacts ``hashing``."""
        files = (ctypes.c_int * len(hashing))(*(self._open(self._resolve(sha256)) for sha256 in hashing))
        self._asked = hashing
        threads = min(len(os.sched_getaffinity(0)), THREADS)
        self._core = self._library.core_open(out.fileno(), threads, files, len(hashing))
        if not self._core:
            raise Unfit

    def arrange(self) -> None:
        """Read what the wheels hold. Raises :class:`Unfit` where it is not for the core."""
        self._layout = self._library.layout_open()
        if not self._layout:
            raise Unfit
        try:
            for row in sorted(self._spec["wheels"], key=lambda row: (row["file"], row["sha256"])):
                self._wheel(self._resolve(row["sha256"]), row["file"])
        except (AssembleError, OSError, ValueError, struct.error):
            raise Unfit from None
        kept = self._kept()
        if self._library.layout_arrange(self._layout, kept, len(kept)):
            raise Unfit

    def feed(self) -> None:
        """Let it be made, of what was arranged."""
        if self._library.layout_feed(self._layout, self._core):
            raise Unfit
        size = ctypes.c_size_t()
        listing = self._library.layout_listing(self._layout, ctypes.byref(size))
        words = ctypes.string_at(listing, size.value).decode().split("\0") if size.value else [""]
        self.listing = dict(zip(words[::2], words[1::2], strict=False))

    def finish(self, progress: Callable[[int], object] | None) -> LayerResult:
        """Wait for it; ``progress`` hears of the bytes of the tar stream. Raises :class:`Unfit`."""
        library, seen = self._library, 0
        assert self._core is not None
        while (went := library.core_went(self._core, seen + _STEP)) > seen:
            if progress is not None:
                progress(went - seen)
            seen = went
        result = results(library, self._core, (ctypes.c_uint32 * 0)())
        found = ctypes.create_string_buffer(32 * len(self._asked))
        library.core_hashes(self._core, found)
        self.hashes = {sha256: found.raw[32 * n : 32 * n + 32].hex() for n, sha256 in enumerate(self._asked)}
        return LayerResult(*result, self.listing, tuple(self._warnings))

    def close(self) -> None:
        """Give back what it holds; what was not finished ends now."""
        if self._core:
            self._library.core_close(self._core)
        if self._layout:
            self._library.layout_close(self._layout)
        self._core = self._layout = None
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = {}

    def _kept(self) -> bytes:
        """The folders that the base has, each with a zero."""
        if self._spec.get("folders", True):
            return b""
        from ..assemble.layer import site

        return b"".join(b"%s\0" % path.encode() for path in site(self._spec))

    def _wheel(self, path: str, file: str) -> None:
        """The files of a wheel, and what installing adds to them."""
        from ..assemble.archive import Archive
        from ..assemble.wheel import install_wheel, installed_beside

        facts, descriptor = _Facts(), self._open(path)
        verify, site = int(self._verify), self._site
        if self._library.layout_wheel(self._layout, descriptor, site, len(site), verify, ctypes.byref(facts)):
            found = install_wheel(path, file, python=self._python, venv=self._venv, verify=self._verify)
        else:
            info = facts.info.decode()
            rows = (("RECORD", facts.record), ("WHEEL", facts.wheel), ("entry_points.txt", facts.points))
            members = {f"{info}/{name}": _member(f"{info}/{name}", m) for name, m in rows if m.method >= 0}
            with Archive(path, file, members) as archive:
                found = installed_beside(
                    archive, python=self._python, venv=self._venv, verify=self._verify, listed=bool(facts.listed),
                    ended=bool(facts.ended),
                )  # fmt: skip
        self._warnings += found.warnings
        for entry in found.entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        stream, data = b"", b""
        for number, segment in enumerate(entry.content):
            if isinstance(segment, bytes):
                # More than one, or an empty one, is a way to divide a file that no wheel has.
                if data or not segment:
                    raise Unfit
                data = segment
            elif number:
                raise Unfit
            else:
                stream = operation(segment, self._open(segment.path))
        path = entry.path.encode()
        if entry.kind != "file" or entry.uid or entry.gid or entry.xattrs:
            raise Unfit
        if self._library.layout_add(self._layout, path, len(path), entry.mode, stream, len(stream), data, len(data)):
            raise Unfit

    def _open(self, path: str) -> int:
        found = self._files.get(path)
        return found if found is not None else self._files.setdefault(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC))


def _member(name: str, found: _Member) -> Member:
    from ..assemble.archive import Member

    return Member(name, found.method, found.offset, found.csize, found.size, found.crc, 0)
