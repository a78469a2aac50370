"""Layer kind ``conda``: conda packages in an environment, as pixi would link them there.

What a package built for elsewhere says of where it lies is made to say where it is: in texts by replacing, in other
files in the place that was left for it, with NULs behind. Packages for every platform (``noarch: python``) go to the
environment's own site-packages, with launchers for their entry points. Modules' bytecode that a package brings keeps
fitting its source: it names the instant that every file of a layer has. Owner is root, modes are 0755 and 0644.
Scripts that conda would run after linking are not run, as pixi runs none unless it is told to.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from .conda_package import CondaFile, CondaPackage, open_package
from .entries import Content, Entry, Plain
from .errors import AssembleError
from .launchers import entry_point_scripts, launcher
from .tar import MTIME
from .zstd import Unpack, unpack_zstd

__all__ = ["conda_entries"]

# Linux gave a first line 127 bytes before 5.1.
_LONGEST_LINE = 127
# Longer contents go through a file of the build's own.
_HELD = 64 << 10
_REPLACED = 1 << 30
_LINE = re.compile(rb"#!\s*(\S+)(.*)", re.DOTALL)


def conda_entries(
    spec: Mapping[str, object],
    resolve: Callable[[str], str],
    scratch: str,
    warnings: list[str],
    unpack: Unpack | None = None,
) -> Iterator[tuple[str, Entry]]:
    """The entries of a ``conda`` layer (see ``flyte_build.deriving.derivation``), each with its package's file name.

    ``resolve`` gives the path of an artifact by its SHA-256 (hex); ``scratch`` is a folder of the build's own, where
    packages lie unpacked until the layer is written; ``unpack`` does what :func:`.unpack_zstd` does, and cannot change
    the result. Raises :class:`AssembleError` for a package that is damaged, hostile or does not fit.
    """
    prefix = str(spec["prefix"]).strip("/")
    for row in cast("Sequence[Mapping[str, str]]", spec["packages"]):
        package = open_package(resolve(row["sha256"]), row["file"], scratch, unpack or unpack_zstd)
        placed = _Placed(package, prefix, str(spec["site"]), scratch)
        for entry in placed.entries():
            yield row["file"], entry
        warnings.extend(placed.warnings())
    yield str(spec["title"]), Entry(f"{prefix}/conda-meta/history", "file", 0o644)


class _Placed:
    """One package at ``prefix``, which has no leading slash; ``site`` is relative to it."""

    def __init__(self, package: CondaPackage, prefix: str, site: str, scratch: str) -> None:
        self._package, self._prefix, self._site, self._scratch = package, prefix, site, scratch

    def entries(self) -> Iterator[Entry]:
        paths = []
        for one in self._package.files:
            path = self._path(one.path)
            paths.append(path)
            yield self._entry(one, f"{self._prefix}/{path}")
        for name, reference in self._scripts().items():
            paths.append(f"bin/{name}")
            data = launcher(reference, f"/{self._prefix}/bin/python")
            yield Entry(f"{self._prefix}/bin/{name}", "file", 0o755, (data,))
        index = self._package.index
        stem = f"{index['name']}-{index['version']}-{index['build']}"
        yield Entry(f"{self._prefix}/conda-meta/{stem}.json", "file", 0o644, (_record(self._package, stem, paths),))

    def warnings(self) -> list[str]:
        scripts = {f"bin/.{self._package.name}-{when}.sh" for when in ("pre-link", "post-link")}
        return [
            f"{self._package.file}: `{one.path}` was not run, as pixi runs no such script unless it is told to"
            for one in self._package.files
            if one.path in scripts
        ]

    def _path(self, path: str) -> str:
        if self._package.noarch_python:
            if path.startswith("site-packages/"):
                return f"{self._site}/{path.removeprefix('site-packages/')}"
            if path.startswith("python-scripts/"):
                return f"bin/{path.removeprefix('python-scripts/')}"
        return path

    def _scripts(self) -> dict[str, str]:
        """Name → ``module:attribute`` of the entry points that are the installer's to make."""
        said = self._package.link.get("noarch")
        rows = said.get("entry_points") if self._package.noarch_python and isinstance(said, dict) else None
        if not rows:
            return {}
        if not isinstance(rows, list) or not all(isinstance(row, str) and "\n" not in row for row in rows):
            raise AssembleError("`info/link.json`: expected a list of entry points", self._package.file)
        try:
            return entry_point_scripts("\n".join(["[console_scripts]", *rows]), self._package.name)
        except ValueError as e:
            raise AssembleError(f"`info/link.json`: {e}", self._package.file) from None

    def _entry(self, one: CondaFile, at: str) -> Entry:
        member = one.member
        if member is None:
            return Entry(at, "dir", 0o755)
        if member.kind == "symlink":
            target = member.link
            if one.placeholder:
                target = target.replace(one.placeholder, f"/{self._prefix}")
            return Entry(at, "symlink", 0o777, link=target)
        mode = 0o755 if member.mode & 0o111 else 0o644
        if not member.size:
            return Entry(at, "file", mode)
        return Entry(at, "file", mode, self._content(one, member.offset, member.size))

    def _content(self, one: CondaFile, offset: int, size: int) -> Content:
        if one.placeholder:
            if size > _REPLACED:
                raise AssembleError(
                    f"`{one.path}`: a prefix in {size} bytes, expected at most {_REPLACED}", self._package.file
                )
            replaced = _binary if one.binary else _text
            try:
                data = replaced(one.read(), one.placeholder.encode(), b"/" + self._prefix.encode())
            except ValueError as e:
                raise AssembleError(f"`{one.path}`: {e}", self._package.file) from None
            return self._held(data)
        if one.path.endswith(".pyc") and size >= 16:
            with open(one.tar, "rb") as stream:
                stream.seek(offset)
                head = stream.read(16)
            # PEP 552: no flags, so that instant and size of the source follow.
            if head[4:8] == bytes(4):
                head = head[:8] + MTIME.to_bytes(4, "little") + head[12:]
                return (head, Plain(one.tar, offset + 16, size - 16)) if size > 16 else (head,)
        return (Plain(one.tar, offset, size),)

    def _held(self, data: bytes) -> Content:
        if len(data) <= _HELD:
            return (data,) if data else ()
        handle, path = tempfile.mkstemp(dir=self._scratch, prefix="conda.", suffix=".file")
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        return (Plain(path, 0, len(data)),)


def _text(data: bytes, placeholder: bytes, prefix: bytes) -> bytes:
    """``data`` with every ``placeholder`` made ``prefix``; a first line that is too long then goes through env(1)."""
    if not data.startswith(b"#!"):
        return data.replace(placeholder, prefix)
    line, newline, rest = data.partition(b"\n")
    line = line.replace(placeholder, prefix)
    if len(line) > _LONGEST_LINE and (found := _LINE.fullmatch(line)):
        line = b"#!/usr/bin/env " + found[1].rpartition(b"/")[2] + found[2]
    return line + newline + rest.replace(placeholder, prefix)


def _binary(data: bytes, placeholder: bytes, prefix: bytes) -> bytes:
    """``data`` with the placeholders of each string (up to its NUL) made ``prefix``, and as many NULs behind as it is
    shorter by. Raises ``ValueError`` where the prefix is longer than what it takes the place of."""
    if len(prefix) > len(placeholder):
        raise ValueError(
            f"the prefix `{prefix.decode()}` has more bytes than the {len(placeholder)} that there is room for"
        )
    out, at = [], 0
    while (found := data.find(placeholder, at)) >= 0:
        end = data.find(b"\0", found)
        end = len(data) if end < 0 else end
        string = data[found:end].replace(placeholder, prefix)
        out += [data[at:found], string, bytes(end - found - len(string))]
        at = end
    return b"".join([*out, data[at:]])


def _record(package: CondaPackage, stem: str, paths: Sequence[str]) -> bytes:
    """``conda-meta``: what is installed, for whoever asks conda, mamba or pixi about the environment. Says nothing of
    where the package came from."""
    index: dict[str, Any] = dict(package.index)
    suffix = ".conda" if package.file.endswith(".conda") else ".tar.bz2"
    record = {
        **index,
        "fn": f"{stem}{suffix}",
        "url": f"file:///{index.get('subdir', 'noarch')}/{stem}{suffix}",
        "files": sorted(paths),
        "link": {"source": "", "type": 1},
    }
    return json.dumps(record, indent=2, sort_keys=True).encode() + b"\n"
