"""Where an artifact's bytes may be had: configuration, never part of a lock (law 1).

A locator names places and says how to ask each; it fetches nothing and trusts nothing. Places are given one after the
other, because asking an index costs a request. Local files are places too, as ``file:`` URLs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from ..deriving.derivation import Artifact
from ..kernel.errors import FetchError, InputError
from ..locks.lockfile import Lock, LockedDeb, LockedWheel
from ..recipe import Recipe, SecretMount
from .index_clients import IndexClients
from .lent import settings_of
from .places import Locator, Place
from .sealed_layers import SealedLayers

if TYPE_CHECKING:
    # An HTTP client takes longer to load than a build that fetches nothing takes to run.
    import httpx

    from ..store.contents import Contents
    from .indexes import IndexSettings
    from .mirrors import Mirrors

__all__ = ["DebLocator", "FileLocator", "Locators", "WheelLocator", "project_locator"]


class Locators:
    """Several locators, asked in order."""

    def __init__(self, *locators: Locator) -> None:
        self._locators = locators

    def places(self, artifact: Artifact) -> Iterator[Place]:
        for locator in self._locators:
            yield from locator.places(artifact)

    def close(self) -> None:
        for locator in self._locators:
            locator.close()


def project_locator(
    recipes: Mapping[str, Recipe],
    locks: Mapping[str, Lock],
    root: Path,
    *,
    hurried: bool = False,
    store: Contents | None = None,
) -> Locator:
    """Every place where this project's artifacts may be: its own files, the indexes, Debian's mirrors.

    Cheap: configuration is read, and files are looked for, when the first artifact is asked for. ``hurried`` as
    :class:`WheelLocator` has it. ``store``: where sealed layers may be, for whoever needs any.
    """
    from ..deriving.from_lock import recorded_recipe
    from ..kernel.paths import cache_dir
    from .conda import CondaLocator
    from .located_files import FetchedFiles, LocatedWheels
    from .project_files import LocalFiles
    from .pythons import PythonLocator
    from .uv_wheels import UvWheels

    # A lock by itself says which of its steps are a uv project's, too.
    alone = {name: recorded_recipe(lock) for name, lock in locks.items() if name not in recipes and _of_project(lock)}
    every = {**recipes, **alone}
    projects = [UvWheels(every, locks, root, hurried=hurried)] if _has_project(every.values()) else []
    built = frozenset(b.wheel for lock in locks.values() for p in lock.platforms.values() for b in p.builds)
    sealed = [SealedLayers(store, built)] if store is not None else []
    conda = [CondaLocator(every.values(), root)] if any(r.conda is not None for r in every.values()) else []
    located = [LocatedWheels(every.values(), root)] if _has_located(every.values()) else []
    return Locators(
        *sealed,
        FetchedFiles(recipes.values(), root),
        LocalFiles(recipes.values(), root),
        FileLocator.wheels(recipes.values(), root),
        *projects,
        *located,
        *conda,
        WheelLocator.of(recipes.values(), root, hurried=hurried),
        DebLocator.of(locks.values(), root, [secret for recipe in recipes.values() for secret in recipe.apt_secrets]),
        PythonLocator(root, cache_dir() / "pythons"),
    )


def _of_project(lock: Lock) -> bool:
    steps = cast("dict[str, Any]", lock.recipe).get("steps", [])
    return any("uv" in step or "sources" in step or step.get("kind") == "conda" for step in steps)


def _has_located(recipes: Iterable[Recipe]) -> bool:
    return any(tree.file is not None for recipe in recipes for step in recipe.pip_steps for tree in step.sources)


def _has_project(recipes: Iterable[Recipe]) -> bool:
    return any(step.uv is not None for recipe in recipes for step in recipe.pip_steps)


class FileLocator:
    """Wheels and packages in files on this machine, by file name."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = {path.name: path for path in paths}

    @classmethod
    def wheels(cls, recipes: Iterable[Recipe], root: Path) -> FileLocator:
        """The local wheels of these recipes, whose paths are relative to ``root``."""
        return cls(root / wheel for recipe in recipes for step in recipe.pip_steps for wheel in step.wheels)

    def places(self, artifact: Artifact) -> Iterator[Place]:
        path = self._paths.get(artifact.file)
        if artifact.source is not None and path is not None:
            yield Place(path.absolute().as_uri())

    def close(self) -> None:
        return None


class WheelLocator:
    """Wheels, from the package indexes that are configured or that a recipe names (:mod:`flyte_build.sources.indexes`).

    ``hurried``, for what one can do without: an index that does not answer within seconds is not asked again.
    """

    def __init__(
        self, settings: Sequence[IndexSettings] | Callable[[], Sequence[IndexSettings]], *, hurried: bool = False
    ) -> None:
        self._given = settings
        self._settings: tuple[IndexSettings, ...] | None = None
        self._guard = threading.Lock()
        self._lacking: InputError | None = None
        self._clients = IndexClients(hurried=hurried)

    @classmethod
    def of(cls, recipes: Iterable[Recipe], root: Path, *, hurried: bool = False) -> WheelLocator:
        """For these recipes: what all of them name together first (they are locked together), then each, then none.

        Configuration is read when the first wheel is asked for: a build that fetches nothing need not know it. Where a
        secret of a recipe is not there the other places are asked, and its error is told if none of them has a wheel.
        """
        every = list(recipes)
        wanted = [every, *([recipe] for recipe in every)]

        def read() -> list[IndexSettings]:
            from .indexes import configured

            base = configured(root)
            found: list[IndexSettings] = []
            for some in wanted:
                try:
                    found.append(_settings(base, some, root))
                except InputError as e:
                    made._lacking = made._lacking or e
            return [*found, base]

        made = cls(read, hurried=hurried)
        return made

    def places(self, artifact: Artifact) -> Iterator[Place]:
        if not isinstance(artifact.source, LockedWheel):
            return
        seen: set[str] = set()
        errors: list[FetchError] = []
        every = self._every()
        for settings in every:
            client = self._clients.of(settings)
            try:
                for location in client.locate(artifact.file, artifact.sha256):
                    if location.url not in seen:
                        seen.add(location.url)
                        yield Place(location.url, None if location.url.startswith("file:") else client.stream)
            except FetchError as e:
                errors.append(e)
        if self._lacking is not None:
            raise self._lacking
        if errors:
            raise errors[0]
        if not seen:
            raise self._clients.of(every[0]).nowhere(artifact.file, artifact.sha256)

    def _every(self) -> tuple[IndexSettings, ...]:
        with self._guard:
            if self._settings is None:
                given = self._given() if callable(self._given) else self._given
                self._settings = tuple(dict.fromkeys(given))
            return self._settings

    def close(self) -> None:
        self._clients.close()


def _settings(base: IndexSettings, recipes: Sequence[Recipe], root: Path) -> IndexSettings:
    # The indexes of a uv project's step are for its packages alone (`uv_wheels`).
    steps = [step for recipe in recipes for step in recipe.pip_steps if step.uv is None]
    keep = any(step.index is None for step in steps) or any(recipe.flyte is not None for recipe in recipes)
    return settings_of(base, steps, root, keep_default=keep)


class DebLocator:
    """Debian packages, from the configured mirrors and the snapshot archive (:mod:`flyte_build.sources.mirrors`), and
    from the other sources that the settings of the project ``root`` allow."""

    def __init__(
        self,
        snapshots: Iterable[str],
        mirrors: Mirrors | None = None,
        root: Path | None = None,
        secrets: Sequence[SecretMount] = (),
    ) -> None:
        self._snapshots, self._root, self._secrets = tuple(dict.fromkeys(snapshots)), root, secrets
        self._mirrors = mirrors
        self._guard = threading.Lock()
        self._client: httpx.Client | None = None

    @classmethod
    def of(cls, locks: Iterable[Lock], root: Path | None = None, secrets: Sequence[SecretMount] = ()) -> DebLocator:
        """For the packages of these locks; ``secrets`` are for the addresses of other people's sources."""
        snapshots = (p.snapshot for lock in locks for _, p in sorted(lock.platforms.items()) if p.debs)
        return cls(snapshots, root=root, secrets=secrets)

    def places(self, artifact: Artifact) -> Iterator[Place]:
        if not isinstance(artifact.source, LockedDeb):
            return
        from .mirrors import configured

        with self._guard:
            if self._mirrors is None:
                self._mirrors = configured()
            mirrors = self._mirrors
        if artifact.source.path is not None:
            urls = self._elsewhere(artifact.source)
        else:
            urls = [url for snapshot in self._snapshots for url in mirrors.pool_urls(artifact.source, snapshot)]
        for url in dict.fromkeys(urls):
            yield Place(url, self._stream)

    def _elsewhere(self, deb: LockedDeb) -> list[str]:
        from ..settings import read_settings
        from .apt_third_parties import third_parties

        files = read_settings(self._root).apt_sources if self._root is not None else ()
        found = [
            f"{one.url}/{quote(deb.pool_path, safe='/+~')}"
            for one in third_parties(files, self._secrets)
            if one.name == deb.archive
        ]
        if not found:
            raise FetchError(
                f"{deb.file}: is of the apt source `{deb.archive}`, which nothing here says where it is",
                hint=f"name {deb.archive}.sources in `apt-sources` of [tool.flyte-build], or get it from a bundle",
            )
        return found

    def _stream(self, url: str, headers: Mapping[str, str]) -> AbstractContextManager[httpx.Response]:
        with self._guard:
            if self._client is None:
                assert self._mirrors is not None
                self._client = self._mirrors.client()
            return self._client.stream("GET", url, headers=dict(headers))

    def close(self) -> None:
        with self._guard:
            client, self._client = self._client, None
        if client is not None:
            client.close()
