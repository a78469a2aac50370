"""Clients of the tests' registry, whose waits are written down instead of waited."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO

import pytest

from flyte_build.registry import IMAGE_MANIFEST, Reference, Registry
from tests.support.registry import RegistryServer, sha256

CHUNK = 100_000


def blob(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def opened(data: bytes) -> Callable[[int], BinaryIO]:
    return lambda offset: io.BytesIO(data[offset:])


def manifest_of(config: bytes, *layers: bytes, **more: Any) -> bytes:
    """An image manifest with these blobs."""

    def descriptor(data: bytes) -> dict[str, Any]:
        return {"mediaType": "application/octet-stream", "digest": sha256(data), "size": len(data)}

    document = {"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": descriptor(config)}
    return json.dumps({**document, "layers": [descriptor(d) for d in layers], **more}).encode()


class Pair:
    """A server and a client of it. ``waits``: seconds that the client would have slept."""

    def __init__(self, stack: ExitStack, client: dict[str, Any], **server: Any) -> None:
        self.waits: list[float] = []
        self.server = stack.enter_context(RegistryServer(**server))
        environ = {
            "FLYTE_BUILD_REGISTRY": self.server.host,
            "FLYTE_BUILD_REGISTRY_USER": self.server.user,
            "FLYTE_BUILD_REGISTRY_PASSWORD": self.server.password,
        }
        how = {"environ": environ, "certificates": (), "attempts": 4, "timeout": 5, "chunk": CHUNK, **client}
        self.client = stack.enter_context(Registry(wait=self._wait, chance=lambda: 1.0, **how))
        self.ref = Reference.parse(f"{self.server.host}/team/image:v1")

    def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.server.hung_up()

    def push(self, data: bytes, **more: Any) -> str:
        return self.client.push_blob(self.ref, sha256(data), len(data), opened(data), **more)

    def stored(self, data: bytes) -> bool:
        """Whether the registry has just these bytes under their digest."""
        repository = self.server.repository(self.ref.repository)
        return sha256(data) in repository.blobs and self.server.blobs[sha256(data)] == data

    def methods(self, kind: str) -> list[str]:
        return [s.method for s in self.server.seen(None, kind)]


@pytest.fixture
def pair() -> Iterator[Callable[..., Pair]]:
    """``pair(client={…}, **server)``."""
    with ExitStack() as stack:

        def make(client: dict[str, Any] | None = None, **server: Any) -> Pair:
            return Pair(stack, client or {}, **server)

        yield make
