"""Requirements that are installed from a Git repository or a folder: as users write them → what a recipe says of them.

A repository's address never enters the canonical form, only its digest; a folder is its path in the project and a
digest of its files, so that a lock is stale when one of them changes. Reads folders; runs no git and builds nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..kernel.errors import LoadError
from .located import SourceTree

__all__ = ["source_tree", "tree_digest", "tree_files"]

_PROJECT = ("pyproject.toml", "setup.py", "setup.cfg")
# What tools make beside the sources, and what is no part of them.
_LEFT_OUT = frozenset({
    ".git", ".hg", ".svn", "__pycache__", ".venv", "venv", ".tox", ".nox", ".eggs", "node_modules", "build", "dist",
    ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints", "lockfiles",
})  # fmt: skip
_NAMED = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^]]*\])?\s*@\s*(\S+)(.*)", re.DOTALL)
_GIT = re.compile(r"git\+(https?|ssh|file|git)://", re.IGNORECASE)


def source_tree(text: str, where: str, base: Path, relative: Callable[[Path], str]) -> SourceTree | None:
    """What ``text`` installs from a repository or a folder; ``None`` where it does neither.

    ``base`` is where a relative path starts, ``relative`` gives a path as recipes write it. Raises :class:`LoadError`
    for a folder that is not there, or that is no Python project.
    """
    text = text.strip()
    named = _NAMED.fullmatch(text)
    url, rest = (named[3], named[4]) if named is not None else (text.partition(" ")[0], text.partition(" ")[2])
    if not _GIT.match(url) and not url.startswith(("file:", "./", "../", "/")):
        return None
    name, extras, marker = None, tuple[str, ...](), None
    if named is not None or rest.strip():
        # A stand-in address: packaging takes no path for one.
        head = f"{named[1]}{named[2] or ''}" if named is not None else "x"
        try:
            parsed = Requirement(f"{head} @ https://x.invalid {rest.strip()}".strip())
        except InvalidRequirement as e:
            raise LoadError(f"{where}: `{text}` is not a requirement: {str(e).splitlines()[0]}") from None
        name = str(canonicalize_name(parsed.name)) if named is not None else None
        extras, marker = tuple(sorted(parsed.extras)), str(parsed.marker) if parsed.marker is not None else None
    if _GIT.match(url):
        parts = urlsplit(url[4:])
        said = {key: values[-1] for key, values in parse_qs(parts.fragment).items()}
        if name is None and "egg" in said:
            name, more = _egg(said["egg"], where)
            extras = tuple(sorted({*extras, *more}))
        path, at, rev = parts.path.rpartition("@")
        git = parts._replace(path=path if at else parts.path, fragment="").geturl()
        folder = said.get("subdirectory")
        return SourceTree(name, extras, marker, git, unquote(rev) if at and rev else None, folder)
    at_disk = Path(unquote(urlsplit(url).path) if url.startswith("file:") else url)
    folder_path = Path(os.path.normpath(base / at_disk))
    if folder_path.suffix == ".whl" or folder_path.is_file():
        return None
    if not any((folder_path / file).is_file() for file in _PROJECT):
        raise LoadError(
            f"{where}: `{text}`: {folder_path} is no Python project",
            hint=f"a folder that is installed has one of {', '.join(_PROJECT)}",
        )
    return SourceTree(name, extras, marker, path=relative(folder_path), tree=tree_digest(folder_path))


def _egg(text: str, where: str) -> tuple[str, tuple[str, ...]]:
    """The name and extras in the old spelling (pip documentation, "VCS Support")."""
    try:
        found = Requirement(text)
    except InvalidRequirement:
        raise LoadError(f"{where}: `#egg={text}` is not the name of a package") from None
    return str(canonicalize_name(found.name)), tuple(found.extras)


def tree_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a source tree, by their path in it, sorted: symlinks are what they lead to; folders' are left out,
    and so is what tools make beside the sources (``build``, ``*.egg-info``, virtual environments, caches)."""
    found: list[tuple[str, Path]] = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        for entry in os.scandir(here):
            if entry.name in _LEFT_OUT or entry.name.endswith((".egg-info", ".pyc")):
                continue
            if entry.is_dir(follow_symlinks=False):
                if not os.path.isfile(os.path.join(entry.path, "pyvenv.cfg")):
                    waiting.append(Path(entry.path))
            elif entry.is_file():
                found.append((Path(entry.path).relative_to(folder).as_posix(), Path(entry.path)))
    return iter(sorted(found))


def tree_digest(folder: Path) -> str:
    """Of a source tree's paths, whether they can be run, and contents. Raises :class:`LoadError`."""
    whole = hashlib.sha256()
    try:
        for path, file in tree_files(folder):
            data = file.read_bytes()
            run = bool(os.stat(file).st_mode & 0o100)
            whole.update(f"{path}\0{run:d}\0{len(data)}\0".encode("utf-8", "surrogateescape") + data)
    except OSError as e:
        raise LoadError(f"{folder}: cannot be read: {e}") from None
    return f"sha256:{whole.hexdigest()}"
