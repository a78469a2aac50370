"""Repositories that a uv project names without a ``uv.lock``: what uv is told of those of which it would ask a backend.

uv fetches a repository itself, and reads what it requires where its ``pyproject.toml`` says so. Where only the version
is its build backend's to tell (tools that read tags do that) uv is told the rest, as `dependency-metadata` in its copy
of the project. What nobody has written down is read off a wheel that whoever asks has made. Runs no backend.
"""

from __future__ import annotations

import json
import re
import tarfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from ...kernel.errors import RefusedError
from ...recipe import SourceTree
from ...recipe.uv_projects import LocalPackage, UvFiles
from ...sources.source_trees import archive_of_commit
from ...sources.uv_trees import trees_of

__all__ = ["Repositories", "UntoldError", "told_as"]

# What uv says of the first package that it would have to build.
_EXTRA = re.compile(r"""\bextra\s*==\s*["']([^"']+)["']""")
_UNBUILT = re.compile(r"Building source distributions for `([^`]+)` is disabled")


class UntoldError(RefusedError):
    """Only a build backend tells what ``name`` requires. ``tree``: the repository that a wheel may be made of, to read
    that; ``None``: it says besides where its requirements come from, which a wheel does not."""

    def __init__(self, message: str, hint: str, name: str, tree: SourceTree | None) -> None:
        super().__init__(message, hint=hint)
        self.name, self.tree = name, tree


class Repositories:
    """``manifest``: the file of uv's copy that holds ``[tool.uv]``; ``folder`` is for archives; ``known``: tables by
    name, of packages of which wheels were made (:func:`told_as`)."""

    def __init__(self, files: UvFiles, manifest: Path, folder: Path, known: Mapping[str, str]) -> None:
        self._files, self._manifest, self._folder, self._known = files, manifest, folder, known
        self._told: set[str] = set()
        self._makeable: dict[str, SourceTree] = {}

    def tell(self, words: str) -> bool:
        """Whether uv knows more now about the package that it would have built, by its ``words``, and is to be asked
        again. Raises :class:`UntoldError` where it does not."""
        found = _UNBUILT.search(words)
        if found is None:
            return False
        name = found[1]
        table = None
        if name not in self._told and not self._files.script:
            table = self._known.get(name) or self._metadata(name)
        if table is None:
            said = "uv lock" if not self._files.script else f"uv lock --script {self._files.main.file.name}"
            raise UntoldError(
                f"{self._files.main.file}: what {name} requires only its build backend can tell, and no uv.lock has it",
                f"run `{said}`, and commit what it writes: {name} is built of what stands there",
                name,
                self._makeable.get(name),
            )
        self._told.add(name)
        text = f"{self._manifest.read_text(encoding='utf-8').rstrip()}\n\n{table}"
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError:  # `[tool.uv]` says it already, in a way that cannot be added to
            return False
        self._manifest.write_text(text, encoding="utf-8")
        return True

    def _metadata(self, name: str) -> str | None:
        """The table that stands for the repository of ``name``, whose version is dynamic and nothing else."""
        tree = next((tree for tree in trees_of(self._files).values() if tree.name == name and tree.git), None)
        if tree is None or tree.git is None:
            return None
        archive = self._folder / f"{name}.tar"
        archive_of_commit(tree.git, tree.rev, tree.subdirectory, archive, name)
        package = _project(archive, name)
        requires = _static(package) if package is not None else None
        if package is None or requires is None:
            if package is None or not any(package.sources()):
                self._makeable[name] = tree
            return None
        rows = [("name", name), ("version", "0"), ("requires-dist", requires[0]), ("provides-extra", requires[1])]
        said = package.project.get("requires-python")
        rows += [("requires-python", said)] if isinstance(said, str) else []
        return _table(rows)


def _table(rows: Sequence[tuple[str, Any]]) -> str:
    # JSON's strings and lists of strings are TOML's, too.
    body = "".join(f"{key} = {json.dumps(value)}\n" for key, value in rows)
    return f"[[tool.uv.dependency-metadata]]\n{body}"


def told_as(name: str, version: str, requires: Sequence[str], python: str | None) -> str:
    """The table of a package of which a wheel says this."""
    extras = sorted({extra for text in requires for extra in _EXTRA.findall(text)})
    rows: list[tuple[str, Any]] = [
        ("name", name), ("version", version), ("requires-dist", list(requires)), ("provides-extra", extras),
    ]  # fmt: skip
    return _table([*rows, *([("requires-python", python)] if python else [])])


def _project(archive: Path, top: str) -> LocalPackage | None:
    with tarfile.open(archive) as tar:
        try:
            held = tar.extractfile(f"{top}/pyproject.toml")
            document: Mapping[str, Any] = tomllib.loads(held.read().decode()) if held is not None else {}
        except (KeyError, ValueError):
            return None
    return LocalPackage(Path("pyproject.toml"), document)


def _static(package: LocalPackage) -> tuple[list[str], list[str]] | None:
    """What it requires, and its extras; ``None`` where more than its version is dynamic, or where it says of a package
    where that comes from, which such a table cannot."""
    if package.dynamic != ("version",) or any(package.sources()):
        return None
    extras = package.project.get("optional-dependencies", {})
    out = []
    try:
        for text in package.project.get("dependencies", []):
            out.append(str(Requirement(text)))
        for extra, texts in extras.items():
            for text in texts:
                one = Requirement(text)
                marker = f"({one.marker}) and " if one.marker is not None else ""
                one.marker = None
                out.append(f"{one} ; {marker}extra == {json.dumps(extra)}")
    except (InvalidRequirement, TypeError, AttributeError):
        return None
    return out, list(extras)
