"""Machines that share a registry: each with a store of its own, and artifacts that can be taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flyte_build.building.building import build
from flyte_build.deriving.derivation import ImageDerivation
from flyte_build.kernel.reporting import Recorder
from flyte_build.registry.client import Registry
from flyte_build.registry.reference import Reference
from flyte_build.remote.cache import RemoteCache
from flyte_build.remote.publishing import PushedImage
from flyte_build.remote.pushing import push_built
from flyte_build.remote.target import Target
from flyte_build.settings import Settings
from flyte_build.store import Store
from flyte_build.store.built import BuiltImage
from tests.support.images import FolderLocator
from tests.support.registry import RegistryServer

__all__ = ["Machine", "manifests", "tags"]


@dataclass
class Machine:
    """A store and what is configured on it; ``artifacts`` is where it would fetch from."""

    folder: Path
    server: RegistryServer
    artifacts: Path
    cached: bool = True
    attempts: int = 1
    bases: dict[str, str] = field(default_factory=dict)
    said: Recorder = field(default_factory=Recorder)
    cache_host: str | None = None

    def __post_init__(self) -> None:
        self.store = Store(self.folder)
        self.locator = FolderLocator(self.artifacts)

    @property
    def settings(self) -> Settings:
        cache = (f"{self.cache_host or self.server.host}/team/cache",) if self.cached else ()
        return Settings(registry=f"{self.server.host}/team", cache=cache)

    @contextmanager
    def connected(self) -> Iterator[RemoteCache]:
        with self._registry() as asking, self._registry() as patient:
            places = [Reference.parse(text) for text in self.settings.cache]
            yield RemoteCache(lambda wanted: patient if wanted else asking, places, self.said)

    def _registry(self) -> Registry:
        return Registry(attempts=self.attempts, timeout=10, wait=self.server.hung_up)

    def build(self, images: Sequence[ImageDerivation], *, local: bool = True) -> list[BuiltImage]:
        with self.connected() as shared:
            return self._build(images, shared, local)

    def _build(self, images: Sequence[ImageDerivation], shared: RemoteCache, local: bool) -> list[BuiltImage]:
        return build(
            images,
            self.store,
            locator=self.locator,
            reporter=self.said,
            remote=shared,
            bases=self.bases,
            local=local,
        )

    def push(
        self,
        images: Sequence[ImageDerivation],
        *tags: str,
        settings: Settings | None = None,
        sending: Callable[[list[BuiltImage]], None] | None = None,
    ) -> list[PushedImage]:
        with self.connected() as shared:
            reading, writing = shared.registry(patient=False), shared.registry(patient=True)
            target = Target.of(settings or self.settings, writing, tags, shared, reading)
            _, pushed = push_built(
                lambda: self._build(images, shared, False), self.store, target, shared, self.said, sending=sending
            )
        return pushed


def tags(server: RegistryServer, repository: str) -> dict[str, str]:
    return dict(server.repository(repository).tags)


def manifests(server: RegistryServer) -> int:
    return sum(len(r.manifests) for r in server.repositories.values())
