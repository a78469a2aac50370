"""The repositories and folders that a uv project names, by package: where a wheel that was built of one came from.

That is its ``uv.lock``'s word; where there is none, that of ``[tool.uv.sources]``, and the commit is our own lock's.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from packaging.utils import canonicalize_name

from ..kernel.canonical import digest
from ..kernel.errors import LoadError
from ..recipe import SourceTree
from ..recipe.source_trees import source_tree
from ..recipe.uv_projects import UvFiles

__all__ = ["asked_of", "trees_of"]


def asked_of(name: str) -> str:
    """What stands in a lock for "as the project has it": the digest that a build's source has."""
    return digest({"uv": name})


def trees_of(files: UvFiles) -> dict[str, SourceTree]:
    """By :func:`asked_of`; the paths of folders are absolute. Raises :class:`LoadError` for a lock that is none."""
    if files.lock is None:
        return {asked_of(str(tree.name)): tree for tree in reversed(list(_stated(files)))}
    try:
        document = tomllib.loads(files.lock.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise LoadError(f"{files.lock}: cannot be read: {e}") from None
    found: dict[str, SourceTree] = {}
    for package in document.get("package", []):
        name, source = str(canonicalize_name(str(package.get("name", "")))), package.get("source", {})
        folder = source.get("directory") or source.get("editable")
        if isinstance(source.get("git"), str):
            parts = urlsplit(source["git"])
            said = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            url = parts._replace(query="", fragment="").geturl()
            commit = parts.fragment or said.get("rev")
            found[asked_of(name)] = SourceTree(name, git=url, rev=commit, subdirectory=said.get("subdirectory"))
        elif isinstance(folder, str):
            at = Path(os.path.normpath(files.own_lock.parent / folder))
            found[asked_of(name)] = SourceTree(name, path=str(at))
    return found


def _stated(files: UvFiles) -> Iterator[SourceTree]:
    """What the project's own files name; of the repositories, as they are asked for: a branch, a tag, a commit."""
    for package in files.packages:
        for name, source in package.sources():
            if isinstance(source.get("git"), str):
                rev = next((source[key] for key in ("rev", "tag", "branch") if isinstance(source.get(key), str)), None)
                yield SourceTree(name, git=source["git"], rev=rev, subdirectory=source.get("subdirectory"))
            elif isinstance(source.get("path"), str):
                at = Path(os.path.normpath(package.file.parent / source["path"]))
                if at.is_dir():
                    yield SourceTree(name, path=str(at / str(source.get("subdirectory", ""))))
        for requirement in package.requirements():
            if (requirement.url or "").startswith("git+"):
                text = f"{requirement.name} @ {requirement.url}"
                tree = source_tree(text, str(package.file), package.file.parent, Path.as_posix)
                if tree is not None:
                    yield tree
