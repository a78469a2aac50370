"""Images that should be one: each whole, all of one digest; or a message that says where they are not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyte_build.diffing.manifests import first_differences
from flyte_build.store import layout

__all__ = ["Image", "one_digest", "problems"]


@dataclass(frozen=True, slots=True)
class Image:
    """What ``builder`` made: a manifest's digest and the OCI image layout that holds it.

    ``root`` is the folder that absolute links in the layout start from, where a builder has a tree of its own.
    """

    builder: str
    digest: str
    layout: Path
    root: Path | None = None

    def blob(self, digest: str) -> Path:
        path = self.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
        while path.is_symlink() and self.root is not None:
            path = self.root / os.readlink(path).lstrip("/")
        return path

    def document(self, digest: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.blob(digest).read_bytes())
        return found

    def file(self, digest: str, size: int) -> Path | None:
        path = self.blob(digest)
        return path if path.is_file() else None

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self.document(self.digest)


def one_digest(images: Sequence[Image]) -> str:
    """The digest of all ``images``, of which there are at least two; fails with what each problem is and where."""
    assert len(images) > 1, f"expected several builders' images, found {[image.builder for image in images]}"
    found = problems(images)
    assert not found, "\n".join(found)
    return images[0].digest


def problems(images: Sequence[Image]) -> list[str]:
    """One line for each image that is damaged, or is not the first one, with the first layer and path that differ."""
    first, *others = images
    found = [line for image in images for line in _damage(image)]
    for other in others:
        if other.digest != first.digest:
            causes = first_differences(first.manifest, first, other.manifest, other)
            where = "; ".join(map(str, causes)) or "the manifests' bytes differ, not what they say"
            found.append(f"{other.builder}, compared with {first.builder}: {where}")
    return found


def _damage(image: Image) -> list[str]:
    """What of the image is missing, or not what its digest says."""
    found = []
    for digest in (image.digest, *(digest for digest, _ in layout.references(dict(image.manifest)))):
        path = image.blob(digest)
        if not path.is_file():
            found.append(f"{image.builder}: expected the blob {digest}, found none")
            continue
        with path.open("rb") as f:
            actual = "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()
        if actual != digest:
            found.append(f"{image.builder}: expected the blob {digest}, found {actual}")
    return found
