"""Where the packages of a uv project may be had: what its own files say, and never more than they allow.

A package whose source is an index by name is asked of this index only, one whose source is an address or a file of no
index at all, every other one of the project's ordinary indexes (uv documentation, "Package indexes", "Dependency
sources"). A ``uv.lock`` says it for each file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from ..kernel.errors import FetchError, LoadError, RefusedError
from ..locks.nouns import LockedWheel
from ..recipe import PipInstall
from ..recipe.uv_projects import LocalPackage, UvFiles, read_uv_files
from .indexes import Index, IndexClient, IndexFile, IndexSettings, WheelMetadata, configured
from .lent import login, settings_of, variables_of
from .uv_beyond import beyond

__all__ = ["ProjectClient", "UvSources", "uv_settings"]


@dataclass(frozen=True, slots=True)
class _Stated:
    """One file of a ``uv.lock``: the URL or path it had, and the address of its index (``None``: it is of none)."""

    name: str
    place: str | None
    registry: str | None


def uv_settings(files: UvFiles) -> IndexSettings | None:
    """The ordinary indexes of a project where uv is told any; ``None`` where it is told none.

    A script's are those of its own block and the user's; of a project beside it uv knows nothing.
    """
    if not files.script:
        own = configured(files.root)
        return own if own.origin == "uv's configuration" else None
    users = configured(None)
    stated = [(index, flat, table) for index, flat, table in _indexes(files.main) if not table.get("explicit")]
    if not stated:
        return users if users.origin == "uv's configuration" else None
    default = next((index for index, _, table in stated if table.get("default")), users.default)
    if os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL"):
        default = users.default
    more = tuple(index for index, flat, table in stated if not flat and not table.get("default"))
    links = tuple(index.url for index, flat, _ in stated if flat)
    return replace(users, default=default, extra=(*more, *users.extra), find_links=(*links, *users.find_links))


def _indexes(package: LocalPackage) -> Iterator[tuple[Index, bool, Mapping[str, Any]]]:
    """``[[tool.uv.index]]``: each with whether it is flat, and its table."""
    tables = package.uv.get("index")
    for table in tables if isinstance(tables, list) else ():
        if isinstance(table, dict) and isinstance(table.get("url"), str):
            url, flat = table["url"], table.get("format") == "flat"
            if "://" not in url:
                path = Path(os.path.normpath(package.file.parent / url))
                url = str(path) if flat else path.as_uri()
            name = table.get("name")
            yield Index(url, name if isinstance(name, str) else None), flat, table


class UvSources:
    """The places of one uv project. ``base`` is what is configured where the project configures nothing; ``commits``
    are those that a lock has, for what repositories say in turn (:func:`.beyond`).

    Raises :class:`LoadError` where the project's files cannot be read.
    """

    def __init__(
        self, step: PipInstall, root: Path, base: IndexSettings, commits: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        assert step.uv is not None
        self._step, self._commits = step, commits
        self.files: UvFiles = read_uv_files(
            root / step.uv.file, root / step.uv.lock if step.uv.lock is not None else None
        )
        ordinary = uv_settings(self.files) or base
        bare = step.index is None
        self.ordinary = settings_of(ordinary, [step], self.files.root, keep_default=bare)
        self._given = variables_of(step.secrets, str(step.uv.file))

    @cached_property
    def _packages(self) -> tuple[LocalPackage, ...]:
        """The project's, and those of its repositories, as far as these can be had."""
        try:
            return (*self.files.packages, *beyond(self.files, self._commits).packages)
        except (FetchError, RefusedError):
            return self.files.packages

    @cached_property
    def named(self) -> Mapping[str, tuple[Index, bool]]:
        """The project's indexes by name (by address where they have none), each with whether it is a flat one."""
        out: dict[str, tuple[Index, bool]] = {}
        for package in self._packages:
            for index, flat, _ in _indexes(package):
                out.setdefault(index.name or index.url, (login(index, self._given), flat))
        return out

    @cached_property
    def every(self) -> IndexSettings:
        """All of the project's indexes: whose credentials are whose. Nothing is to be looked up in it."""
        return replace(self.ordinary, extra=(*self.ordinary.extra, *(index for index, _ in self.named.values())))

    @cached_property
    def _sources(self) -> Mapping[str, tuple[Mapping[str, Any], ...]]:
        out: dict[str, tuple[Mapping[str, Any], ...]] = {}
        for package in self._packages:
            for name, source in package.sources():
                out[name] = (*out.get(name, ()), source)
        # What was locked holds where the files lie elsewhere now, or say less.
        for name, indexes in self._step.uv.indexes if self._step.uv is not None else ():
            out.setdefault(name, tuple({"index": index} for index in indexes))
        return out

    @cached_property
    def _stated(self) -> Mapping[str, tuple[_Stated, ...]]:
        """The files of the ``uv.lock`` by SHA-256; empty without one."""
        lock = self.files.lock
        try:
            document = tomllib.loads(lock.read_text(encoding="utf-8")) if lock is not None else {}
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
            raise LoadError(f"{lock}: cannot be read: {e}") from None
        out: dict[str, tuple[_Stated, ...]] = {}
        for package in document.get("package", []):
            source = package.get("source", {})
            registry = source.get("registry")
            for wheel in package.get("wheels", []):
                place = wheel.get("url") or source.get("url")
                if place is None and source.get("path"):
                    place = self._file(source["path"])
                if place is None and registry is not None and wheel.get("path"):
                    place = self._file(os.path.join(_path(registry), wheel["path"]))
                sha256 = str(wheel.get("hash", "")).removeprefix("sha256:")
                found = _Stated(canonicalize_name(package.get("name", "")), place, registry)
                out[sha256] = (*out.get(sha256, ()), found)
        return out

    def _file(self, path: str) -> str:
        return Path(os.path.normpath(self.files.own_lock.parent / path)).as_uri()

    def owns(self, wheel: LockedWheel) -> bool:
        """Whether the project says of ``wheel`` where it is: by its hash, or without a ``uv.lock`` by its name."""
        return wheel.sha256 in self._stated if self.files.lock is not None else wheel.name in self._sources

    def allowed(self, name: str, registry: str | None = None) -> IndexSettings:
        """The indexes that may be asked for ``name``, which a ``uv.lock`` or uv itself saw on ``registry``."""
        known = {_normal(index.url): at for at, (index, _) in self.named.items()}
        tables = self._sources.get(name, ())
        names = [str(table["index"]) for table in tables if "index" in table]
        if registry is not None:
            at = known.get(_normal(self._file(registry) if "://" not in registry else registry))
            if at is not None:
                return self._only([at])
            if names and not _conditional(tables):
                return self._only(names)
            return self.ordinary
        if tables and not _conditional(tables):
            return self._only(names)
        if not names:
            return self.ordinary if not tables or _conditional(tables) else self._only([])
        only = self._only(names)
        return replace(
            self.ordinary,
            extra=(*only.extra, *self.ordinary.extra),
            find_links=(*only.find_links, *self.ordinary.find_links),
        )

    def _only(self, names: list[str]) -> IndexSettings:
        found = [self.named[name] for name in dict.fromkeys(names) if name in self.named]
        return replace(
            self.ordinary,
            default=None,
            extra=tuple(index for index, flat in found if not flat),
            find_links=tuple(index.url for index, flat in found if flat),
            origin=f"[tool.uv.sources] of {self.files.main.file.name}",
        )

    def places(self, wheel: LockedWheel) -> list[tuple[str | None, IndexSettings]]:
        """Where ``wheel`` may be: an address or file that the project states, and the indexes that may be asked, too.

        What the ``uv.lock`` saw on an index that nothing configures (any more) is asked of the configured ones first.
        """
        out: list[tuple[str | None, IndexSettings]] = []
        for stated in self._stated.get(wheel.sha256, ()):
            if stated.registry is None:
                out.append((stated.place, self._only([])))
                continue
            allowed = self.allowed(stated.name, stated.registry)
            if self.configures(stated.registry):
                out += [(stated.place, self._only([])), (None, allowed)]
            else:
                out += [(None, allowed), (stated.place, self._only([]))]
        if out:
            return out
        for source in self._sources.get(wheel.name, ()):
            place = source.get("url") or source.get("path")
            if isinstance(place, str) and unquote(urlsplit(place).path).endswith(wheel.file):
                out.append((place if "url" in source else self._of_source(place), self._only([])))
        return [*out, (None, self.allowed(wheel.name))]

    def _of_source(self, path: str) -> str:
        found = next((w for w in self.files.wheels if w.name == path.rsplit("/", 1)[-1]), Path(path))
        return found.absolute().as_uri()

    def configures(self, registry: str) -> bool:
        """Whether this machine is told of the index at ``registry``."""
        at = _normal(self._file(registry) if "://" not in registry else registry)
        return at in {_normal(index.url) for index in self.every.indexes}


class ProjectClient(IndexClient):
    """Reads the wheels that uv named, from where it saw them or from where the project allows them to be."""

    def __init__(self, sources: UvSources, registries: Mapping[str, tuple[str, str | None]]) -> None:
        """``registries``: the name and the index of every file's URL."""
        super().__init__(sources.every)
        self._sources_of = sources
        self._registries = registries

    def metadata(self, file: IndexFile) -> WheelMetadata:
        name, registry = self._registries.get(file.url, ("", None))
        if registry is None or file.sha256 is None:
            return super().metadata(file)
        configured = self._sources_of.configures(registry)
        # Where a repository names an index, uv saw it there just now, and nobody else is to be asked.
        fresh = self._sources_of.files.lock is None and not configured
        direct = fresh or configured
        try:
            return super().metadata(file) if direct else self._elsewhere(file, name, registry)
        except FetchError as e:
            try:
                if fresh:
                    raise
                return self._elsewhere(file, name, registry) if direct else super().metadata(file)
            except FetchError:
                raise e from None

    def _elsewhere(self, file: IndexFile, name: str, registry: str) -> WheelMetadata:
        assert file.sha256 is not None
        client = IndexClient(self._sources_of.allowed(name, registry))
        try:
            location = next(self._located(client, file), None)
            if location is None:
                raise client.nowhere(file.name, file.sha256)
            return client.metadata(replace(file, url=location))
        finally:
            client.close()

    @staticmethod
    def _located(client: IndexClient, file: IndexFile) -> Iterator[str]:
        for location in client.locate(file.name, file.sha256 or ""):
            yield location.url


def _normal(url: str) -> str:
    parts = urlsplit(url if "://" in url else Path(url).absolute().as_uri())
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def _path(registry: str) -> str:
    return unquote(urlsplit(registry).path) if registry.startswith("file:") else registry


def _conditional(tables: tuple[Mapping[str, Any], ...]) -> bool:
    """Whether there are targets for which none of the sources holds."""
    return bool(tables) and all("marker" in table or "extra" in table or "group" in table for table in tables)
