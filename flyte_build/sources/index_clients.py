"""One client for each index that wheels are had from, made when it is first asked. For any number of threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # An HTTP client takes longer to load than a build that fetches nothing takes to run.
    from .indexes import IndexClient, IndexSettings

__all__ = ["IndexClients"]


class IndexClients:
    """``hurried``, for what one can do without: an index that does not answer within seconds is not asked again."""

    def __init__(self, *, hurried: bool = False) -> None:
        self._given_up: dict[str, str] | None = {} if hurried else None
        self._guard = threading.Lock()
        self._clients: dict[IndexSettings, IndexClient] = {}

    def of(self, settings: IndexSettings) -> IndexClient:
        from .indexes import IndexClient

        with self._guard:
            if settings not in self._clients:
                self._clients[settings] = IndexClient(settings, given_up=self._given_up)
            return self._clients[settings]

    def close(self) -> None:
        with self._guard:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()
