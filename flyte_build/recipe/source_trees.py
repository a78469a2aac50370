"""Requirements that are installed from a location: as users write them → what a recipe says of them.

That is a Git repository, a folder, a wheel or a source archive. No address enters the canonical form, only its digest;
a folder or file is its path in the project and a digest of what is there, so that a lock is stale when that changes.
Reads files; runs no git, asks no network and builds nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from ..kernel.errors import LoadError, RefusedError
from .located import SourceTree

__all__ = ["ARCHIVES", "source_tree", "tree_digest", "tree_files"]

_PROJECT = ("pyproject.toml", "setup.py", "setup.cfg")
# What tools make beside the sources, and what is no part of them.
_LEFT_OUT = frozenset({
    ".git", ".hg", ".svn", "__pycache__", ".venv", "venv", ".tox", ".nox", ".eggs", "node_modules", "build", "dist",
    ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints", "lockfiles",
})  # fmt: skip
_NAMED = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^]]*\])?\s*@\s*(\S+)(.*)", re.DOTALL)
_GIT = re.compile(r"git\+(https?|ssh|file|git)://", re.IGNORECASE)
ARCHIVES = (".tar.gz", ".tgz", ".zip")
"""How the names of source archives end."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def source_tree(text: str, where: str, base: Path, relative: Callable[[Path], str]) -> SourceTree | None:
    """What ``text`` installs from a location; ``None`` where it names a package, or another kind of location.

    ``base`` is where a relative path starts, ``relative`` gives a path as recipes write it. Raises :class:`LoadError`
    for a file or folder that is not there, or that is no Python project, and :class:`RefusedError` for an address of
    what is neither a wheel nor a source archive.
    """
    text = text.strip()
    named = _NAMED.fullmatch(text)
    url, rest = (named[3], named[4]) if named is not None else (text.partition(" ")[0], text.partition(" ")[2])
    if not _GIT.match(url) and not re.match(r"(https?|file):|\.{0,2}/", url, re.IGNORECASE):
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
    if re.match(r"https?:", url, re.IGNORECASE):
        return _addressed(SourceTree(name, extras, marker), url, text, where)
    bare, _, fragment = url.partition("#")
    at_disk = Path(unquote(urlsplit(bare).path) if bare.startswith("file:") else bare)
    folder_path = Path(os.path.normpath(base / at_disk))
    if folder_path.is_file() or folder_path.name.endswith((".whl", *ARCHIVES)):
        asked = _checked(SourceTree(name, extras, marker), fragment, folder_path.name, text, where)
        return replace(asked, path=relative(folder_path), tree=_file_digest(folder_path, asked.sha256, text, where))
    if not any((folder_path / file).is_file() for file in _PROJECT):
        raise LoadError(
            f"{where}: `{text}`: {folder_path} is no Python project",
            hint=f"a folder that is installed has one of {', '.join(_PROJECT)}",
        )
    return SourceTree(name, extras, marker, path=relative(folder_path), tree=tree_digest(folder_path))


def _addressed(found: SourceTree, url: str, text: str, where: str) -> SourceTree:
    parts = urlsplit(url)
    file = unquote(parts.path.rsplit("/", 1)[-1])
    return replace(_checked(found, parts.fragment, file, text, where), url=parts._replace(fragment="").geturl())


def _checked(found: SourceTree, fragment: str, file: str, text: str, where: str) -> SourceTree:
    """``found`` with the ``file`` name, and with what the address's fragment says of it (pip documentation, "VCS
    Support" and "Requirement Specifiers")."""
    shown = re.sub(r"(://)[^/\s@]+@", r"\1***@", text)
    if "/" in file or file.startswith(".") or not file.endswith((".whl", *ARCHIVES)):
        raise RefusedError(
            f"{where}: `{shown}` names neither a wheel nor a source archive ({', '.join(ARCHIVES)})",
            hint="name the file itself; a repository is `git+https://…@rev`",
        )
    said = {key: values[-1] for key, values in parse_qs(fragment).items()}
    if "subdirectory" in said:
        raise RefusedError(
            f"{where}: `{shown}`: a part of an archive is not built",
            hint="name its repository: `git+https://…@rev#subdirectory=…`",
        )
    sha256 = said.get("sha256")
    other = next((key for key in ("md5", "sha1", "sha384", "sha512") if key in said), None)
    if other is not None or (sha256 is not None and not _SHA256.fullmatch(sha256)):
        raise RefusedError(f"{where}: `{shown}`: expected #sha256= and 64 hexadecimal digits")
    if found.name is None and "egg" in said:
        name, more = _egg(said["egg"], where)
        found = replace(found, name=name, extras=tuple(sorted({*found.extras, *more})))
    if file.endswith(".whl"):
        try:
            own = str(parse_wheel_filename(file)[0])
        except InvalidWheelFilename as e:
            raise LoadError(f"{where}: `{shown}`: {e}") from None
        if found.name not in (None, own):
            raise LoadError(f"{where}: `{shown}`: {file} is a wheel of {own}", hint=f"write `{own} @ …`")
        found = replace(found, name=own)
    return replace(found, file=file, sha256=sha256)


def _file_digest(path: Path, sha256: str | None, text: str, where: str) -> str:
    try:
        with open(path, "rb") as f:
            digest = hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as e:
        raise LoadError(f"{where}: `{text}`: {path}: cannot be read: {e.strerror}") from None
    if sha256 not in (None, digest):
        raise LoadError(f"{where}: `{text}`: expected SHA-256 {sha256}, found {digest}")
    return f"sha256:{digest}"


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
