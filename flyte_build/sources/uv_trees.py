"""The repositories, folders and archives that a uv project names: where a wheel that was built of one came from.

That is its ``uv.lock``'s word; where there is none, that of ``[tool.uv.sources]``, and the commit is our own lock's.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from packaging.utils import canonicalize_name

from ..kernel.canonical import digest
from ..kernel.errors import LoadError
from ..kernel.values import replace
from ..recipe import SourceTree
from ..recipe.source_trees import ARCHIVES, source_tree
from ..recipe.uv_projects import LocalPackage, UvFiles

__all__ = ["asked_of", "stated", "trees_of"]


def asked_of(name: str) -> str:
    """What stands in a lock for "as the project has it": the digest that a build's source has."""
    return digest({"uv": name})


def trees_of(files: UvFiles) -> dict[str, SourceTree]:
    """By :func:`asked_of`; the paths of folders are absolute. Raises :class:`LoadError` for a lock that is none."""
    if files.lock is None:
        found = [tree for package in files.packages for tree in stated(package)]
        return {asked_of(str(tree.name)): tree for tree in reversed(found)}
    try:
        document = tomllib.loads(files.lock.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise LoadError(f"{files.lock}: cannot be read: {e}") from None
    out: dict[str, SourceTree] = {}
    for package in document.get("package", []):
        name, source = str(canonicalize_name(str(package.get("name", "")))), package.get("source", {})
        folder, file = source.get("directory") or source.get("editable"), source.get("url") or source.get("path")
        if isinstance(source.get("git"), str):
            parts = urlsplit(source["git"])
            said = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            url = parts._replace(query="", fragment="").geturl()
            commit = parts.fragment or said.get("rev")
            out[asked_of(name)] = SourceTree(name, git=url, rev=commit, subdirectory=said.get("subdirectory"))
        elif isinstance(folder, str):
            at = Path(os.path.normpath(files.own_lock.parent / folder))
            out[asked_of(name)] = SourceTree(name, path=str(at))
        elif isinstance(file, str) and (tree := _archive(name, file, files.own_lock.parent)) is not None:
            sha256 = str(package.get("sdist", {}).get("hash", "")).removeprefix("sha256:")
            out[asked_of(name)] = replace(tree, sha256=sha256 or None)
    return out


def _archive(name: str, place: str, folder: Path) -> SourceTree | None:
    """The source archive at an address or path, from ``folder``; ``None`` for anything else."""
    parts = urlsplit(place)
    file = unquote(parts.path.rsplit("/", 1)[-1])
    if not file.endswith(ARCHIVES):
        return None
    if parts.scheme in ("http", "https"):
        return SourceTree(name, url=parts._replace(fragment="").geturl(), file=file)
    at = unquote(parts.path) if parts.scheme == "file" else place
    return SourceTree(name, path=os.path.normpath(folder / at), file=file)


def stated(package: LocalPackage) -> Iterator[SourceTree]:
    """What its own file names; of the repositories, as they are asked for: a branch, a tag, a commit."""
    for name, source in package.sources():
        if isinstance(source.get("git"), str):
            rev = next((source[key] for key in ("rev", "tag", "branch") if isinstance(source.get(key), str)), None)
            yield SourceTree(name, git=source["git"], rev=rev, subdirectory=source.get("subdirectory"))
        elif isinstance(source.get("path"), str):
            at = Path(os.path.normpath(package.file.parent / source["path"]))
            if at.is_dir():
                yield SourceTree(name, path=str(at / str(source.get("subdirectory", ""))))
            elif (archive := _archive(name, source["path"], package.file.parent)) is not None:
                yield archive
        elif "subdirectory" not in source and isinstance(source.get("url"), str):
            archive = _archive(name, source["url"], package.file.parent)
            if archive is not None:
                yield archive
    for requirement in package.requirements():
        if (requirement.url or "").startswith("git+"):
            text = f"{requirement.name} @ {requirement.url}"
            tree = source_tree(text, str(package.file), package.file.parent, Path.as_posix)
            if tree is not None:
                yield tree
        elif requirement.url is not None and "subdirectory=" not in requirement.url:
            archive = _archive(str(canonicalize_name(requirement.name)), requirement.url, package.file.parent)
            if archive is not None:
                yield archive
