"""The values that a registry gives and takes: descriptors, manifests, and the media types we ask for. No I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from ..kernel.errors import RegistryError

__all__ = [
    "EMPTY",
    "IMAGE_INDEX",
    "IMAGE_MANIFEST",
    "MANIFEST_TYPES",
    "Descriptor",
    "Manifest",
    "PutResult",
    "digest_of",
]

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPES = (
    IMAGE_MANIFEST,
    IMAGE_INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
EMPTY = b"{}"
"""The content of an empty config (image specification, "Guidance for an Empty Descriptor")."""


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """``algorithm:hex`` of ``data``."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a blob or manifest is: its media type, its digest, its size in bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or an index, as the registry has it: ``data`` has been found to have ``digest``."""

    media_type: str
    digest: str
    data: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The document; raises :class:`RegistryError` where the bytes are none."""
        try:
            found = json.loads(self.data)
        except ValueError as e:
            raise RegistryError(f"manifest {self.digest}: expected JSON, found {e}") from None
        if not isinstance(found, dict):
            raise RegistryError(f"manifest {self.digest}: expected an object, found {type(found).__name__}")
        return cast("dict[str, Any]", found)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.data))

    def blobs(self) -> Iterator[Descriptor]:
        """The config and the layers of an image manifest, in order; nothing of an index."""
        document = self.json
        for entry in (document.get("config"), *document.get("layers", ())):
            if entry is not None:
                yield Descriptor(entry["mediaType"], entry["digest"], entry["size"])


@dataclass(frozen=True, slots=True)
class PutResult:
    """A manifest that the registry has.

    ``subject_accepted``: it keeps the list of referrers itself (``OCI-Subject``).
    """

    digest: str
    subject_accepted: bool = False
