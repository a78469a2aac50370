"""Two platforms' documents are attached at one time, and share a blob of two bytes: docker-registry once lost sight of
it, in one push of six."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flyte_build.registry import IMAGE_MANIFEST, Reference, Registry
from flyte_build.registry.values import EMPTY
from flyte_build.supply.pushing import EMPTY_TYPE, push_bytes
from tests.support.registries import Real, real_registry

pytestmark = pytest.mark.integration

PUSHES = 30


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    with real_registry("docker-registry", tmp_path / "registry") as running:
        yield running


def attach(registry: Registry, place: Reference, platform: str, subject: dict[str, Any]) -> str:
    manifest = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": push_bytes(registry, place, EMPTY, EMPTY_TYPE),
        "layers": [push_bytes(registry, place, platform.encode(), "text/plain")],
        "subject": subject,
    }
    return registry.put_referrer(place, json.dumps(manifest).encode(), IMAGE_MANIFEST).digest


def test_documents_of_two_platforms_are_attached_at_one_time(real: Real) -> None:
    waits: list[float] = []
    with Registry(environ=real.environ, certificates=(), wait=waits.append) as registry, ThreadPoolExecutor(4) as pool:
        for number in range(PUSHES):
            place = Reference.parse(f"{real.host}/team/env{number}")
            config = push_bytes(registry, place, b'{"architecture":"amd64","os":"linux"}', EMPTY_TYPE)
            image = {"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": []}
            data = json.dumps(image).encode()
            digest = registry.put_manifest(place, data, IMAGE_MANIFEST).digest
            subject = {"mediaType": IMAGE_MANIFEST, "digest": digest, "size": len(data)}
            names = [f"{platform}{kind}" for platform in ("amd64", "arm64") for kind in ("cdx", "spdx")]
            made = set(pool.map(lambda name: attach(registry, place, name, subject), names))  # noqa: B023
            assert len(made) == 4
            assert all(registry.head(place.with_digest(one)) is not None for one in made)
    assert waits == [], "no manifest had to be sent again"
