"""What was seen, as rows that ``noop`` holds against what is there: files by content, installed modules by identity,
folders by their names.

A path is looked at once, however many records it is in: what it was earlier is nearer to what the answer was made of.
"""

from __future__ import annotations

import contextlib
import json
import os
import site
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from . import noop

__all__ = ["Rows", "Seen", "installation", "merged", "written"]

# Reading a file this large again at every no-op costs more than it tells; its identity is checked instead.
_LARGE = 4 << 20
_KINDS = ("files", "stats", "kinds", "directories")


def installation() -> tuple[str, ...]:
    """Folders of installed code: what is in them changes by installing, not by editing."""
    paths = {*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, sys.exec_prefix, *site.getsitepackages()}
    with contextlib.suppress(Exception):
        paths.add(site.getusersitepackages())
    return tuple(
        sorted({os.path.realpath(p) + os.sep for p in paths if p and p != "/usr"} | {"/usr/lib/", "/usr/share/"})
    )


class Seen(NamedTuple):
    """Absolute paths, by what was done with them."""

    opened: set[str]
    looked: set[str]
    listed: set[str]


class Rows:
    """``is_installed``: whether a path changes by installing, not by editing."""

    def __init__(self, is_installed: Callable[[str], bool]) -> None:
        self._is_installed = is_installed
        self._installed: dict[str, bool] = {}
        self._stats: dict[str, list[int] | None] = {}
        self._files: dict[str, Any] = {}
        self._directories: dict[str, str | None] = {}

    def know(self, record: Mapping[str, Any]) -> None:
        """The rows of a record that was found to be true are looked at."""
        self._files |= record["files"]
        self._stats |= record["stats"]
        self._directories |= record["directories"]

    def stat(self, path: str) -> list[int] | None:
        if path not in self._stats:
            self._stats[path] = noop.stat_state(path)
        return self._stats[path]

    def of(self, seen: Seen, loaded: Iterable[str], root: str) -> dict[str, dict[str, Any]]:
        """The rows by kind. ``loaded`` are modules by name; ``root`` is the project's, and ends in a separator."""
        modules = {_plain(f) for name in loaded if (f := _file_of(sys.modules.get(name)))}
        installed = self._installed
        for path in (modules | seen.opened | seen.listed).difference(installed):
            installed[path] = self._is_installed(path)
        folders = {os.path.dirname(m) for m in modules if not installed[m]}
        files: dict[str, Any] = {}
        stats: dict[str, Any] = {}
        for path in modules | seen.opened:
            if _is_made_up(path):
                continue
            state = self.stat(path)
            if (state is not None and state[1] > _LARGE) or (installed[path] and not path.startswith(root)):
                stats[path] = state
            else:
                files[path] = self._file(path)
        looked = {p for p in seen.looked if not _is_made_up(p)}
        # Folders are looked at for being there: their times change with every file made in them.
        kinds = {p: None if (state := self.stat(p)) is None else state[0] & 0o170000 for p in looked}
        stats |= {p: self.stat(p) for p in looked - set(files) if kinds[p] == noop.FILE}
        listed = {p for p in seen.listed if not installed[p]}
        directories = {p: self._directory(p) for p in listed | folders | {root.rstrip(os.sep)}}
        stats |= {p: self.stat(p) for p in sys.path if p and os.path.isdir(p) and self._is_installed(p)}
        return dict(zip(_KINDS, (files, stats, kinds, directories), strict=True))

    def _file(self, path: str) -> Any:
        if path not in self._files:
            self._files[path] = noop.file_state(path)
        return self._files[path]

    def _directory(self, path: str) -> str | None:
        if path not in self._directories:
            self._directories[path] = noop.directory_state(path)
        return self._directories[path]


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record ``one``, true only where ``other`` is, too; ``None`` where they cannot be true together."""
    if json.loads(json.dumps(one["interpreter"])) != other["interpreter"]:
        return None
    if one["arguments"] != other["arguments"] and None not in (one["arguments"], other["arguments"]):
        return None
    walked = [{(every, named): was for every, named, was in record["whole_environment"]} for record in (one, other)]
    if not _agree(*walked):
        return None
    if not all(_agree(one[kind], other[kind]) for kind in ("environment", *_KINDS)):
        return None
    return {
        **one,
        "arguments": one["arguments"] or other["arguments"],
        "whole_environment": [[*how, was] for how, was in sorted((walked[0] | walked[1]).items())],
        **{kind: {**one[kind], **other[kind]} for kind in ("environment", *_KINDS)},
    }


def _agree(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    return all(other[name] == value for name, value in one.items() if name in other)


def written(key: str, document: Mapping[str, Any] | None) -> bool:
    """Whether ``document`` is the record under ``key`` now; ``None``: there is none. What cannot be written is let
    be."""
    path = noop.record_path(key)
    with contextlib.suppress(OSError):
        if document is None:
            os.unlink(path)
            return False
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as f:
            f.write(json.dumps(document))
        os.replace(temporary, path)
        return True
    return False


def _is_made_up(path: str) -> bool:
    """No file, but what the kernel says just then. Below ``/dev/shm`` are files like any."""
    return path.startswith(("/proc/", "/sys/", "/dev/")) and not path.startswith("/dev/shm/")


def _plain(path: str) -> str:
    """``os.path.abspath`` of an absolute path, which nearly always is one already."""
    return path if "/." not in path and "//" not in path and path[-1:] != "/" else os.path.abspath(path)


def _file_of(module: ModuleType | None) -> str | None:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) and os.path.isabs(file) else None
