"""Layer kind ``python``: a relocatable CPython at its place.

The archive is what uv installs: a gzipped tar with everything below ``python/`` (``bin``, ``include``, ``lib``,
``share``). What its build wrote down of where it was (``prefix`` in ``_sysconfigdata``, the Makefile of ``config-*``,
pkg-config's files, first lines of programs) is made to say where it is, and the compiler that it names becomes the
system's ``cc``, as uv has it. PEP 668's marker is there, because packages go into the image's own environment. Left
out: ``__pycache__``, which holds dates. Owner is root, modes are 0755 and 0644.
"""

from __future__ import annotations

import gzip
import os
import posixpath
import re
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, cast

from .bombs import most_inflated
from .entries import Content, Entry, Plain
from .errors import AssembleError
from .untar import Member, members

__all__ = ["python_entries"]

_ROOT = "python/"
_CHUNK = 1 << 20
# Bytes that an archive may unpack to whatever its size, and that a text which is rewritten may have.
_LEAST, _TEXT = 1 << 30, 8 << 20
_SYSCONFIG = re.compile(r"lib/python[^/]+/_sysconfigdata_[^/]*\.py")
_BUILD_FILES = re.compile(r"lib/python[^/]+/config-[^/]+/Makefile|lib/pkgconfig/[^/]+\.pc|bin/[^/]*-config")
_PREFIX = re.compile(rb"""['"]prefix['"]\s*:\s*['"](/[^'"\s]+)['"]""")
_TOOLS = (
    (re.compile(rb"(?<![\w./-])(?:/[\w./-]+/)?clang\+\+(?![\w+.-])"), b"c++"),
    (re.compile(rb"(?<![\w./-])(?:/[\w./-]+/)?clang(?![\w+.-])"), b"cc"),
    (re.compile(rb"(?<![\w./-])(?:/[\w./-]+/)?llvm-ar(?![\w.-])"), b"ar"),
)
_MARKER = b"""[externally-managed]
Error=This Python is the image's. Packages go into its environment, /opt/venv,
 and are asked for in the image's definition.
"""


def python_entries(spec: Mapping[str, object], resolve: Callable[[str], str], scratch: str) -> list[Entry]:
    """The entries of a ``python`` layer (see ``flyte_build.deriving.derivation``), sorted by path.

    ``resolve`` gives the path of an artifact by its SHA-256 (hex); ``scratch`` is a folder of the build's own, where
    the archive lies unpacked until the layer is written. Raises :class:`AssembleError` for an archive that is damaged,
    hostile, or holds no such Python.
    """
    rows = cast("Sequence[Mapping[str, str]]", spec["archives"])
    if len(rows) != 1:
        raise AssembleError(f"expected one archive of Python, found {len(rows)}")
    row = rows[0]
    prefix, python = str(spec["prefix"]).strip("/"), str(spec["python"])
    data = _plain(resolve(row["sha256"]), row["file"], scratch)
    with open(data, "rb") as stream:
        found = _members(stream, row["file"])
        moved = _Moved(stream, found, prefix, row["file"])
        entries = [moved.entry(path, member, data) for path, member in found.items()]
    names = {entry.path for entry in entries if entry.kind in ("file", "symlink", "hardlink")}
    if f"{prefix}/bin/python{python}" not in names:
        raise AssembleError(f"expected `{_ROOT}bin/python{python}` in the archive of Python, found none", row["file"])
    library = next(
        (f"{prefix}/lib/python{python}/" for n in names if n.startswith(f"{prefix}/lib/python{python}/")), ""
    )
    if not library:
        raise AssembleError(f"expected `{_ROOT}lib/python{python}` in the archive of Python, found none", row["file"])
    if f"{library}EXTERNALLY-MANAGED" not in names:
        entries.append(Entry(f"{library}EXTERNALLY-MANAGED", "file", 0o644, (_MARKER,)))
    return sorted(entries, key=lambda entry: entry.path.encode())


def _plain(path: str, file: str, scratch: str) -> str:
    """The path of the archive's tar, unpacked into ``scratch``."""
    left = most_inflated(os.path.getsize(path), _LEAST)
    handle, data = tempfile.mkstemp(dir=scratch, prefix="python.", suffix=".tar")
    try:
        with os.fdopen(handle, "wb") as out, gzip.open(path, "rb") as plain:
            while piece := plain.read(_CHUNK):
                left -= len(piece)
                if left < 0:
                    raise AssembleError("unpacks to more than any Python has", file)
                out.write(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise AssembleError(f"corrupt or truncated: {e}", file) from None
    return data


def _members(stream: BinaryIO, file: str) -> dict[str, Member]:
    """What is wanted, by its path below ``python/``."""
    found: dict[str, Member] = {}
    for member in members(stream, file, "the tar in it"):
        if member.kind == "dir" and member.path in ("", "python"):
            continue
        if not member.path.startswith(_ROOT):
            raise AssembleError(f"expected everything below `{_ROOT}`, found `{member.path}`", file)
        path = member.path.removeprefix(_ROOT)
        if "__pycache__" in path.split("/"):
            continue
        if path in found and (member.kind, found[path].kind) != ("dir", "dir"):
            raise AssembleError(f"`{member.path}` is there twice", file)
        found[path] = member
    return found


class _Moved:
    """Entries where they are to lie, with what says where it lies made right."""

    def __init__(self, stream: BinaryIO, found: Mapping[str, Member], prefix: str, file: str) -> None:
        self._stream, self._found, self._prefix, self._file = stream, found, prefix, file
        self._was = self._built_for()
        was = re.escape(self._was) if self._was else b"(?!)"
        self._old = re.compile(rb"(?:(?<![\w./-])|(?<=-I)|(?<=-L))" + was + rb"(?![\w.-])")

    def _built_for(self) -> bytes:
        """The prefix that the build was configured for; empty where nothing says it."""
        for path, member in self._found.items():
            if _SYSCONFIG.fullmatch(path) and (said := _PREFIX.search(self._read(member))):
                return said[1].rstrip(b"/")
        return b""

    def entry(self, path: str, member: Member, data: str) -> Entry:
        at = f"{self._prefix}/{path}"
        mode = 0o755 if member.kind == "dir" or member.mode & 0o111 else 0o644
        if member.kind == "dir":
            return Entry(at, "dir", mode)
        if member.kind == "symlink":
            return Entry(at, "symlink", 0o777, link=self._target(path, member))
        if member.kind == "hardlink":
            if member.link.removeprefix(_ROOT) not in self._found:
                raise AssembleError(
                    f"`{member.path}` is a hard link to `{member.link}`, which is not there", self._file
                )
            return Entry(at, "hardlink", mode, link=f"{self._prefix}/{member.link.removeprefix(_ROOT)}")
        text = self._text(path, member)
        content: Content = (Plain(data, member.offset, member.size),) if text is None else (text,)
        return Entry(at, "file", mode, content if member.size else ())

    def _target(self, path: str, member: Member) -> str:
        """A link stays inside: links of the archive are among its own files."""
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.link))
        if member.link.startswith("/") or inside == ".." or inside.startswith("../"):
            raise AssembleError(f"`{member.path}` leads out of the archive, to `{member.link}`", self._file)
        return member.link

    def _text(self, path: str, member: Member) -> bytes | None:
        """What a text that says where it lies has to say; ``None`` for every other file."""
        if _SYSCONFIG.fullmatch(path):
            text = self._old.sub(self._here, self._read(member))
            for named, plain in _TOOLS:
                text = named.sub(plain, text)
            return text
        if _BUILD_FILES.fullmatch(path):
            return self._old.sub(self._here, self._read(member))
        if path.startswith("bin/") and 2 < member.size <= _TEXT:
            self._stream.seek(member.offset)
            if self._stream.read(2) == b"#!":
                first, newline, rest = self._read(member).partition(b"\n")
                return b"#!" + self._old.sub(self._here, first[2:].strip()) + newline + rest
        return None

    def _here(self, _: re.Match[bytes]) -> bytes:
        return b"/" + self._prefix.encode()

    def _read(self, member: Member) -> bytes:
        if member.size > _TEXT:
            raise AssembleError(f"`{member.path}`: expected a text of at most {_TEXT} bytes", self._file)
        self._stream.seek(member.offset)
        return self._stream.read(member.size)
