"""A conda package, unpacked and understood: its files, which of them name a prefix, and what it says of itself.

Both formats: ``.conda`` (a zip of two tars that Zstandard packs) and ``.tar.bz2``. What a package has is what
``info/paths.json`` lists, or in old ones ``info/files`` and ``info/has_prefix``. Never runs what a package brings.
"""

from __future__ import annotations

import bz2
import io
import json
import os
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast

from .archive import STORED, Archive
from .bombs import most_inflated
from .errors import AssembleError
from .untar import Member, members
from .zstd import Unpack, ZstdError

__all__ = ["CondaFile", "CondaPackage", "open_package"]

_CHUNK = 1 << 20
# Bytes that a package may unpack to whatever its size, and that one of the texts below `info/` may have.
_LEAST, _TEXT = 4 << 30, 64 << 20
# What a package that says no placeholder was built with: conda's own, of its first years.
_PLACEHOLDER = "/opt/anaconda1anaconda2anaconda3"


@dataclass(frozen=True, slots=True)
class CondaFile:
    """A path of a package, with its member of the tar at ``tar`` (``None``: an empty folder that only a list has).

    ``placeholder`` is the prefix that it names, ``binary`` whether it is no text.
    """

    path: str
    tar: str
    member: Member | None
    placeholder: str = ""
    binary: bool = False

    def read(self) -> bytes:
        assert self.member is not None
        with open(self.tar, "rb") as stream:
            stream.seek(self.member.offset)
            return stream.read(self.member.size)


@dataclass(frozen=True, slots=True)
class CondaPackage:
    """``file`` is for messages; ``index`` is ``info/index.json``, ``link`` ``info/link.json`` (empty: none)."""

    file: str
    index: Mapping[str, Any]
    link: Mapping[str, Any]
    files: tuple[CondaFile, ...]

    @property
    def name(self) -> str:
        return str(self.index["name"])

    @property
    def noarch_python(self) -> bool:
        return self.index.get("noarch") == "python"


def open_package(path: str, file: str, scratch: str, unpack: Unpack) -> CondaPackage:
    """The package at ``path``, which ``file`` names; its tars are unpacked into ``scratch`` by ``unpack``.

    Raises :class:`AssembleError` for one that is damaged, hostile or in no format that is known.
    """
    if file.endswith(".conda"):
        tars = _parts(path, file, scratch, unpack)
    elif file.endswith(".tar.bz2"):
        tars = [_bzip2(path, file, scratch)]
    else:
        raise AssembleError("expected a package called *.conda or *.tar.bz2", file)
    found: dict[str, tuple[str, Member]] = {}
    for tar in tars:
        with open(tar, "rb") as stream:
            for member in members(stream, file, "the tar in it", pax=True):
                if member.kind != "dir" and member.path:
                    if member.path in found:
                        raise AssembleError(f"`{member.path}` is there twice", file)
                    found[member.path] = tar, member
    read = _Reader(found, file)
    index = read.document("info/index.json")
    if index is None or not all(isinstance(index.get(key), str) for key in ("name", "version", "build")):
        raise AssembleError("expected name, version and build in `info/index.json`, found none", file)
    return CondaPackage(file, index, read.document("info/link.json") or {}, tuple(read.files()))


class _Reader:
    """What lies below ``info/``."""

    def __init__(self, found: Mapping[str, tuple[str, Member]], file: str) -> None:
        self._found, self._file = found, file

    def fail(self, message: str) -> AssembleError:
        return AssembleError(message, self._file)

    def text(self, path: str) -> str | None:
        if path not in self._found:
            return None
        tar, member = self._found[path]
        if member.kind != "file" or member.size > _TEXT:
            raise self.fail(f"`{path}`: expected a file of at most {_TEXT} bytes")
        try:
            return CondaFile(path, tar, member).read().decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(f"`{path}`: expected UTF-8") from None

    def document(self, path: str) -> dict[str, Any] | None:
        text = self.text(path)
        if text is None:
            return None
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise self.fail(f"`{path}`: not JSON: {e}") from None
        if not isinstance(raw, dict):
            raise self.fail(f"`{path}`: expected an object")
        return raw

    def files(self) -> list[CondaFile]:
        listed = self.document("info/paths.json")
        rows = self._legacy() if listed is None else self._listed(listed)
        out: dict[str, CondaFile] = {}
        for path, kind, placeholder, mode in rows:
            if path in out:
                raise self.fail(f"`{path}` is listed twice")
            if mode not in ("text", "binary"):
                raise self.fail(f"`{path}`: expected a text or a binary file, found `{mode}`")
            tar, member = self._found.get(path, ("", None))
            if member is None and kind != "directory":
                raise self.fail(f"`{path}` is listed, and is not there")
            if member is not None and member.kind == "hardlink":
                tar, member = self._linked(member, path)
            out[path] = CondaFile(path, tar, member, placeholder, mode == "binary")
        return list(out.values())

    def _linked(self, member: Member, path: str) -> tuple[str, Member]:
        """What a hard link leads to: the same bytes, as each path is a file of its own once prefixes are put in."""
        tar, target = self._found.get(member.link, ("", None))
        if target is None or target.kind != "file":
            raise self.fail(f"`{path}` is a hard link to `{member.link}`, which is no file of the package")
        return tar, target

    def _listed(self, listed: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
        """CEP 34, ``paths.json``: path, type, placeholder and mode of each."""
        if listed.get("paths_version") != 1 or not isinstance(listed.get("paths"), list):
            raise self.fail("`info/paths.json`: expected version 1 of its format")
        out = []
        for row in listed["paths"]:
            if not isinstance(row, dict) or not isinstance(row.get("_path"), str):
                raise self.fail("`info/paths.json`: expected a path in each row")
            said, mode = row.get("prefix_placeholder") or "", row.get("file_mode") or "text"
            if not isinstance(said, str):
                raise self.fail(f"`{row['_path']}`: expected a placeholder, found something else")
            out.append((row["_path"], str(row.get("path_type")), said, mode))
        return out

    def _legacy(self) -> list[tuple[str, str, str, str]]:
        lines = self.text("info/files")
        if lines is None:
            raise self.fail("expected `info/paths.json` or `info/files`, found neither")
        said: dict[str, tuple[str, str]] = {}
        for line in filter(None, (self.text("info/has_prefix") or "").splitlines()):
            try:
                words = shlex.split(line, posix=True)
            except ValueError:
                raise self.fail(f"`info/has_prefix`: cannot be read: {line[:200]}") from None
            if len(words) == 3:
                said[words[2]] = words[0], words[1]
            elif words:
                said[line.strip()] = _PLACEHOLDER, "text"
        paths = dict.fromkeys(line.strip() for line in lines.splitlines() if line.strip())
        return [(path, "hardlink", *said.get(path, ("", "text"))) for path in paths]


# -- formats ---------------------------------------------------------------------------------------


class _Span(io.RawIOBase):
    """Some bytes of a file, as a file of their own."""

    def __init__(self, stream: BinaryIO, offset: int, size: int) -> None:
        self._stream, self._left = stream, size
        stream.seek(offset)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        found = self._stream.read(wanted)
        self._left -= len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


def _tar(scratch: str) -> tuple[IO[bytes], str]:
    handle, path = tempfile.mkstemp(dir=scratch, prefix="conda.", suffix=".tar")
    return os.fdopen(handle, "wb"), path


def _parts(path: str, file: str, scratch: str, unpack: Unpack) -> list[str]:
    """The tars of a ``.conda``: what it says of itself, and its files (CEP 35)."""
    most, tars = most_inflated(os.path.getsize(path), _LEAST), []
    with Archive(path, file) as archive, open(path, "rb") as stream:
        for start in ("info-", "pkg-"):
            named = [m for n, m in archive.members.items() if n.startswith(start) and n.endswith(".tar.zst")]
            if len(named) != 1 or named[0].method != STORED:
                raise AssembleError(f"expected one stored `{start}*.tar.zst` in it, found {len(named)}", file)
            out, tar = _tar(scratch)
            try:
                with out:
                    span = cast(BinaryIO, _Span(stream, named[0].offset, named[0].size))
                    unpack(span, cast(BinaryIO, out), most)
            except (ZstdError, EOFError) as e:
                raise AssembleError(f"`{named[0].name}`: {e}", file) from None
            most -= os.path.getsize(tar)
            tars.append(tar)
    return tars


def _bzip2(path: str, file: str, scratch: str) -> str:
    left = most_inflated(os.path.getsize(path), _LEAST)
    out, tar = _tar(scratch)
    try:
        with out, bz2.open(path, "rb") as plain:
            while piece := plain.read(_CHUNK):
                left -= len(piece)
                if left < 0:
                    raise AssembleError("unpacks to more than any package has", file)
                out.write(piece)
    except (OSError, EOFError, ValueError) as e:
        raise AssembleError(f"corrupt or truncated: {e}", file) from None
    return tar
