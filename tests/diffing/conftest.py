"""Layouts of images that were not made here, and a repository with locks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.submit.oci import Made, image
from tests.support.repository import repository

__all__ = ["entry_of", "index_of", "layout", "repository"]

Layers = Sequence[Sequence[Made]]


def index_of(folder: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Write ``index.json`` and ``oci-layout``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": list(entries)}))


def entry_of(folder: Path, digest: str, name: str | None = None, platform: str = "linux/amd64") -> dict[str, Any]:
    """A descriptor of an index."""
    system, architecture = platform.split("/")
    size = (folder / "blobs/sha256" / digest[7:]).stat().st_size
    notes = {"org.opencontainers.image.ref.name": name} if name else {}
    return {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": size,
        "platform": {"os": system, "architecture": architecture},
        "annotations": notes,
    }


@pytest.fixture
def layout(tmp_path: Path) -> Callable[..., Path]:
    """Write an OCI image layout with the images given by name."""

    def write(**images: Layers) -> Path:
        folder = tmp_path / "layout"
        made = {
            name: image(folder / "blobs/sha256", layers, env=["A=1"], workdir="/srv") for name, layers in images.items()
        }
        index_of(folder, [entry_of(folder, digest, name) for name, digest in made.items()])
        return folder

    return write
