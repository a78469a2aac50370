"""Packages of uv's projects that have no wheel: repositories, folders and source distributions, built as others are.

What is built is what uv named: a commit, of the ``uv.lock`` or where a branch was when uv was asked, a source
distribution by its hash, a folder of the project. Build requirements are asked of the project's ordinary indexes.
Chooses nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.utils import parse_wheel_filename

from ...kernel.errors import FetchError
from ...kernel.reporting import Reporter
from ...recipe import SourceTree
from ...sources.indexes import IndexClient, IndexFile
from ...sources.source_trees import archived
from ...sources.uv_projects import ProjectClient, UvSources
from ...sources.uv_trees import asked_of
from ..wheels import Target
from .sources import Built, Origin, Sources
from .uv_answers import Spoken
from .uv_told import Told

__all__ = ["UvBuilds"]

_BLOCK = 1 << 20


class UvBuilds:
    """``folder`` is for archives; what was built is remembered by the SHA-256 of its wheel."""

    def __init__(self, root: Path, folder: Path, sources: Sources, reporter: Reporter) -> None:
        self._root, self._folder, self._sources, self._reporter = root, folder, sources, reporter
        self._built: dict[str, Built] = {}
        self._read: dict[str, str | None] = {}

    def of(self, wheel: str) -> Built | None:
        return self._built.get(wheel)

    def noted(self, made: Mapping[str, Built]) -> tuple[Path, ...]:
        """The files of wheels that somebody else made, which are remembered as if they were made here."""
        self._built |= {built.record.wheel: built for built in made.values() if built.record is not None}
        return tuple(built.path for built in made.values())

    def told(self, name: str, tree: SourceTree, project: UvSources, target: Target, environment: str) -> Told:
        """What the wheel of a repository or an archive says that only its build backend tells.

        The wheel is the one that the image gets: what it is made of must not move meanwhile. Raises what fetching and
        building raise."""
        ordinary, commit = IndexClient(project.ordinary), None
        try:
            with self._reporter.work(f"fetch {name}"):
                if tree.file is not None:
                    url = tree.url or Path(str(tree.path)).as_uri()
                    stated = IndexFile(tree.file, url, sha256=tree.sha256)
                    file = self._fetched(stated, ordinary, self._new(name, "told", target))
                else:
                    path, commit = archived(tree, Path("/"), tree.rev, self._new(name, "told", target))
                    file = _local(path)
            self._reporter.note(f"environment {environment}: {name} is built, to know what it requires")
            self._read[name] = commit or file.sha256
            version = (commit or str(file.sha256))[:12]
            wheel = self._one(name, version, file, Origin(asked_of(name), commit), target, environment, ordinary)
            (found,) = ordinary.metadata_of([_local(wheel)], self._reporter)
        finally:
            ordinary.close()
        return Told(name, str(parse_wheel_filename(wheel.name)[1]), tuple(found.requires), found.requires_python)

    def build(
        self, said: Spoken, project: UvSources, target: Target, environment: str, client: ProjectClient
    ) -> tuple[Path, ...]:
        """The wheels of all that ``said`` has no wheel of, as files. Raises what fetching and building raise."""
        out: list[Path] = []
        if not said.trees and not said.archives:
            return ()
        ordinary = IndexClient(project.ordinary)
        try:
            for name, tree in sorted(said.trees.items()):
                folder = self._new(name, tree.rev or tree.path or "", target)
                with self._reporter.work(f"fetch {name}"):
                    path, commit = archived(tree, Path("/"), tree.rev, folder)
                if commit is not None and project.files.lock is None:
                    self._reporter.note(
                        f"environment {environment}: {name} of {project.files.main.file.name}: commit {commit}"
                    )
                self._unmoved(name, commit)
                file = _local(path)
                origin = Origin(asked_of(name), commit)
                version = (commit or str(file.sha256))[:12]
                out.append(self._one(name, version, file, origin, target, environment, ordinary))
            for name, (version, stated, direct) in sorted(said.archives.items()):
                file = self._fetched(stated, client, self._new(name, version, target))
                if direct:
                    self._unmoved(name, file.sha256)
                    version = str(file.sha256)[:12]
                there = Origin(asked_of(name)) if direct else None
                out.append(self._one(name, version, file, there, target, environment, ordinary))
        finally:
            ordinary.close()
        return tuple(out)

    def _unmoved(self, name: str, found: str | None) -> None:
        if self._read.get(name, found) != found:
            raise FetchError(f"{name}: what it is made of moved while it was locked", hint="lock again")

    def _one(
        self,
        name: str,
        version: str,
        file: IndexFile,
        origin: Origin | None,
        target: Target,
        environment: str,
        client: IndexClient,
    ) -> Path:
        built = self._sources.of_tree(name, version, file, origin, target, environment, client)
        assert built is not None, "asked only where something builds"
        assert built.record is not None, "asked only of sources"
        self._built[built.record.wheel] = built
        return built.path

    def _new(self, *words: object) -> Path:
        folder = self._folder / hashlib.sha256("\0".join(map(str, words)).encode()).hexdigest()[:24]
        folder.mkdir(exist_ok=True)
        return folder

    def _fetched(self, file: IndexFile, client: IndexClient, folder: Path) -> IndexFile:
        """``file`` on this machine, by the hash that the ``uv.lock`` has."""
        if file.url.startswith("file:"):
            path = Path(unquote(urlsplit(file.url).path))
        else:
            path = folder / file.name
            with client.stream(file.url) as response, open(path, "wb") as out:
                if response.status_code != 200:
                    raise FetchError(f"{file.name}: {response.status_code} {response.reason_phrase}")
                for block in response.iter_bytes(_BLOCK):
                    out.write(block)
        at = _local(path)
        if file.sha256 not in (None, at.sha256):
            raise FetchError(
                f"{file.name}: expected SHA-256 {file.sha256}, found {at.sha256}",
                hint="its index has another file under this name than the uv.lock",
            )
        return at


def _local(path: Path) -> IndexFile:
    with open(path, "rb") as f:
        found = hashlib.file_digest(f, "sha256").hexdigest()
    return IndexFile(path.name, path.as_uri(), sha256=found, size=path.stat().st_size)
