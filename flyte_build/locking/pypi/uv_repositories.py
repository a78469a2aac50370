"""Repositories and archives that a uv project names without a ``uv.lock``: what uv is told of those of which it would
ask a build backend.

uv fetches them itself, and reads what they require where that is written down. Of a repository that leaves something to
its backend uv is shown a copy whose pyproject.toml says it, with all that stands there of where requirements come from;
of an archive another one, that says nothing else (its ``[tool.uv]`` means nothing to uv). What nobody has written down
is read off a wheel that whoever asks has made. Runs no backend.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from ...kernel.errors import RefusedError
from ...recipe import SourceTree
from ...recipe.requirements import script_document
from ...recipe.source_trees import ARCHIVES
from ...recipe.uv_projects import LocalPackage, UvFiles
from ...sources.git_mirrors import Mirrors
from ...sources.indexes import IndexFile
from ...sources.uv_trees import trees_of
from .uv_told import Told, archive, manifest, replaced, toml

__all__ = ["Repositories", "UntoldError"]

# What uv says of the first package that it would have to build, and where that is from.
_UNBUILT = re.compile(r"Building source distributions for `([^`]+)` is disabled")
_PLACE = re.compile(r"`([A-Za-z0-9._-]+)(?:==\S+)? @ ([^`]+)`")
_COMMIT = re.compile(rb"(?<![0-9a-f])[0-9a-f]{7,40}(?![0-9a-f])")
_DEPTH = 4


class UntoldError(RefusedError):
    """Only a build backend tells what ``name`` requires. ``tree``: what a wheel may be made of, to read that; ``None``:
    it is not known where it is from, or it was told, and is not heard."""

    def __init__(self, message: str, hint: str, name: str, tree: SourceTree | None) -> None:
        super().__init__(message, hint=hint)
        self.name, self.tree = name, tree


class Repositories:
    """``copies``: the manifests of uv's copy, by the files that they are of; ``folder`` is for copies of what they
    name; ``known`` by name, of packages of which wheels were made."""

    def __init__(self, files: UvFiles, copies: Mapping[Path, Path], folder: Path, known: Mapping[str, Told]) -> None:
        self._files, self._copies, self._folder, self._known = files, copies, folder, known
        self.mirrors = Mirrors(folder / "repositories")
        self.guessed: dict[str, SourceTree] = {}
        self.archives: dict[str, IndexFile] = {}
        self._tried: dict[tuple[str, str | None], int] = {}

    def tell(self, words: str) -> bool:
        """Whether uv knows more now about the package that it would have built, by its ``words``, and is to be asked
        again. Raises :class:`UntoldError` where it does not, and what fetching a repository raises."""
        words = " ".join(words.split())  # an older uv breaks lines
        if self.mirrors.astray(words):
            return True
        found = _UNBUILT.search(words)
        if found is None:
            return False
        name = str(canonicalize_name(found[1]))
        tree, told = self._tree(name, words), self._known.get(name)
        if tree is None:
            raise self.untold(name, None)
        tried = self._tried[name, tree.rev] = self._tried.get((name, tree.rev), 0) + 1
        if tried > 2:
            raise self.untold(name, None)
        if tree.git is not None:
            self._retold(name, tree, told, everywhere=tried > 1)
        elif told is None:
            raise self.untold(name, tree)
        else:
            self._repacked(tree, told, everywhere=tried > 1)
        return True

    def untold(self, name: str, tree: SourceTree | None) -> UntoldError:
        said = "uv lock" if not self._files.script else f"uv lock --script {self._files.main.file.name}"
        return UntoldError(
            f"{self._files.main.file}: what {name} requires only its build backend can tell, and no uv.lock has it",
            f"run `{said}`, and commit what it writes: {name} is built of what stands there",
            name,
            tree,
        )

    def _tree(self, name: str, words: str) -> SourceTree | None:
        """The commit or archive that uv would have built. Of an address uv leaves out the password, so that what the
        project itself says comes first."""
        places = {str(canonicalize_name(found[1])): found[2] for found in _PLACE.finditer(words)}
        if (place := places.get(name)) is None:
            return None
        stated = next((t for t in trees_of(self._files).values() if t.name == name), None)
        parts = urlsplit(place.removeprefix("git+"))
        fragment = {key: values[-1] for key, values in parse_qs(parts.fragment).items()}
        if place.startswith("git+"):
            path, at, rev = parts.path.rpartition("@")
            url = parts._replace(path=path if at else parts.path, query="", fragment="").geturl()
            if stated is not None and stated.git is not None:
                url = stated.git
            commit = self.mirrors.commit(url, rev if at else None)
            return SourceTree(name, git=url, rev=commit, subdirectory=fragment.get("subdirectory"))
        file = unquote(parts.path.rsplit("/", 1)[-1])
        if stated is not None and stated.file == file:
            return stated
        if not file.endswith(ARCHIVES) or fragment or parts.scheme not in ("http", "https"):
            return None
        return SourceTree(name, url=parts.geturl(), file=file)

    # -- repositories ----------------------------------------------------------------------------------

    def _retold(self, name: str, tree: SourceTree, told: Told | None, *, everywhere: bool) -> None:
        """Say it in a commit of our own."""
        assert tree.git is not None
        assert tree.rev is not None
        path = "/".join(filter(None, ((tree.subdirectory or "").strip("/"), "pyproject.toml")))
        if not path.isprintable():
            raise self.untold(name, None)
        document = _document(self.mirrors.manifests(tree.git, tree.rev).get(path, b""))
        project = {**told.project(), "name": name} if told is not None else _guessed(document)
        if project is None:
            raise self.untold(name, tree)
        if told is None:
            self.guessed[name] = tree
        self._commit(tree.git, tree.rev, {path: manifest(document, project)}, everywhere=everywhere)

    def _commit(self, url: str, commit: str, files: Mapping[str, bytes], *, everywhere: bool, depth: int = 0) -> None:
        """Put ``files`` into a commit of our own, and name that wherever the other is named by its digits."""
        named = (commit, self.mirrors.ours(commit))
        made = self.mirrors.tell(url, commit, files)

        def other(data: bytes) -> bytes:
            return _named(data, named, made)

        for copy in self._copies.values():
            copy.write_bytes(other(copy.read_bytes()))
        if everywhere:
            self._everywhere(other, depth)

    def _everywhere(self, other: Callable[[bytes], bytes], depth: int = 0) -> None:
        """Write anew the manifests of the repositories that the project names."""
        for tree in trees_of(self._files).values() if depth < _DEPTH else ():
            if tree.git is not None:
                at = self.mirrors.commit(tree.git, tree.rev)
                held = self.mirrors.manifests(tree.git, at)
                changed = {path: new for path, data in held.items() if (new := other(data)) != data}
                if changed:
                    self._commit(tree.git, at, changed, everywhere=True, depth=depth + 1)

    # -- archives --------------------------------------------------------------------------------------

    def _repacked(self, tree: SourceTree, told: Told, *, everywhere: bool) -> None:
        """Put an archive that says it in the place of ``tree``."""
        data = archive(replace(told, name=str(tree.name)))
        place = self._folder / "archives" / f"{len(self.archives)}" / f"{tree.name}-{told.version}.tar.gz"
        place.parent.mkdir(parents=True)
        place.write_bytes(data)
        url = tree.url or Path(str(tree.path)).as_uri()
        theirs = IndexFile(str(tree.file), url, sha256=tree.sha256)
        self.archives[hashlib.sha256(data).hexdigest()] = theirs

        text = _from(url, None, place.as_uri())

        for file, copy in self._copies.items():

            def table(one: Mapping[str, Any], folder: Path = file.parent) -> Mapping[str, Any] | None:
                path = one.get("path")
                there = isinstance(path, str) and Path(os.path.normpath(folder / path)).as_uri() == url
                if one.get("url") != url and not there:
                    return None
                return {**{key: value for key, value in one.items() if key != "url"}, "path": str(place)}

            document = script_document(copy) if copy.suffix == ".py" else _document(copy.read_bytes())
            said = toml(replaced(document, table, text))
            if copy.suffix == ".py":
                said = "# /// script\n" + "".join(f"# {line}\n" for line in said.splitlines()) + "# ///\n"
            copy.write_text(said, encoding="utf-8")

        def other(data: bytes) -> bytes:
            if url.encode() not in data:
                return data
            # uv takes no path out of a repository: there a requirement itself says where it is from.
            document = replaced(_document(data), lambda _: None, text)
            sources = document.get("tool", {}).get("uv", {}).get("sources", {})
            for key in [k for k, one in sources.items() if isinstance(one, dict) and one.get("url") == url]:
                del sources[key]
                mine, project = _from(url, str(tree.name), place.as_uri()), document["project"]
                for group in project.keys() & {"dependencies", "optional-dependencies"}:
                    project[group] = replaced(project[group], lambda _: None, mine)
            return toml(document).encode()

        if everywhere:
            self._everywhere(other)


def _from(url: str, name: str | None, place: str) -> Callable[[str], str]:
    """A requirement that is from ``url``, or that is ``name``, from ``place``; every other text as it is."""

    def text(words: str) -> str:
        try:
            one = Requirement(words)
        except InvalidRequirement:
            return words
        stated = (one.url or "").partition("#")[0]
        if stated != url and (one.url is not None or canonicalize_name(one.name) != name):
            return words
        one.specifier, one.url = SpecifierSet(), place
        return str(one)

    return text


def _document(data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except ValueError:
        return {}


def _guessed(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """``[project]`` of a package that leaves its version to its backend and nothing else, with one: 0."""
    package = LocalPackage(Path("pyproject.toml"), document)
    if package.dynamic != ("version",):
        return None
    return {**{key: value for key, value in package.project.items() if key != "dynamic"}, "version": "0"}


def _named(data: bytes, commits: Sequence[str], made: str) -> bytes:
    """``data`` with the commit ``made`` in the place of ``commits``, as far as they are written down."""

    def other(found: re.Match[bytes]) -> bytes:
        word = found[0].decode()
        return made.encode() if any(commit.startswith(word) for commit in commits) else found[0]

    return _COMMIT.sub(other, data)
