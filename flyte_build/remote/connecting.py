"""The registries that settings name, opened when the first question is asked and closed at the end.

A plan that finds everything in the store asks nobody, and so loads no HTTP client.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import InputError
from ..registry.reference import Reference
from ..reporting import Reporter
from .cache import RemoteCache

if TYPE_CHECKING:
    from ..registry.client import Registry
    from ..settings import Settings

__all__ = ["connected"]


class _Lazily:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._guard = threading.Lock()
        self.opened: Registry | None = None

    def __call__(self) -> Registry:
        with self._guard:
            if self.opened is None:
                from ..registry.client import Registry

                self.opened = Registry(insecure=self._settings.insecure_registries)
            return self.opened


@contextmanager
def connected(settings: Settings, reporter: Reporter) -> Iterator[RemoteCache]:
    """The shared cache of ``settings`` for one command; without one configured, it knows nothing and asks nobody.

    Raises :class:`InputError` for a cache that is no repository.
    """
    connect = _Lazily(settings)
    try:
        yield RemoteCache(connect, [_repository(text) for text in settings.cache], reporter)
    finally:
        if connect.opened is not None:
            connect.opened.close()


def _repository(text: str) -> Reference:
    found = Reference.parse(text)
    if found.tag or found.digest:
        raise InputError(f"cache: expected a repository `host/name`, found the image `{text}`")
    return found
