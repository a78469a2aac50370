"""The registries that settings name, opened when the first question is asked and closed at the end.

A plan that finds everything in the store asks nobody, and so loads no HTTP client.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..kernel.errors import InputError
from ..kernel.reporting import Reporter
from ..registry.reference import Reference
from .cache import RemoteCache
from .target import registry_host

if TYPE_CHECKING:
    from ..registry.client import Registry
    from ..settings import Settings

__all__ = ["connected"]


# A cache that does not answer is not worth waiting for: what it knows can be built.
_ATTEMPTS, _TIMEOUT = 3, 20.0


class _Lazily:
    """One client that asks caches, and is soon discouraged; one for what a person asked for, which is patient."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._guard = threading.Lock()
        self._opened: dict[bool, Registry] = {}

    def __call__(self, patient: bool) -> Registry:
        with self._guard:
            if patient not in self._opened:
                from ..registry.client import Registry

                insecure = self._settings.insecure_registries
                home = self._settings.registry and registry_host(self._settings.registry)
                self._opened[patient] = (
                    Registry(insecure=insecure, home=home)
                    if patient
                    else Registry(insecure=insecure, home=home, attempts=_ATTEMPTS, timeout=_TIMEOUT)
                )
            return self._opened[patient]

    def close(self) -> None:
        for registry in self._opened.values():
            registry.close()


@contextmanager
def connected(settings: Settings, reporter: Reporter) -> Iterator[RemoteCache]:
    """The shared cache of ``settings`` for one command; without one configured, it knows nothing and asks nobody.

    Raises :class:`InputError` for a cache that is no repository.
    """
    connect = _Lazily(settings)
    try:
        places = [_repository(text) for text in settings.cache]
        yield RemoteCache(connect, places, reporter, writable=settings.cache_write)
    finally:
        connect.close()


def _repository(text: str) -> Reference:
    found = Reference.parse(text)
    if found.tag or found.digest:
        raise InputError(f"cache: expected a repository `host/name`, found the image `{text}`")
    return found
