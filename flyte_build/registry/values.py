"""The values that a registry gives and takes: descriptors, manifests, and the media types we ask for. No I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from ..kernel.documents import parse_object
from ..kernel.errors import RegistryError
from ..kernel.values import dataclass

__all__ = [
    "EMPTY",
    "IMAGE_INDEX",
    "IMAGE_MANIFEST",
    "MANIFEST_TYPES",
    "Descriptor",
    "Manifest",
    "PutResult",
    "descriptor",
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
# RFC 6838, 4.2, with parameters for those who write them; image-spec v1.1, descriptor.md, "Digests".
_MEDIA_TYPE = re.compile(r"[ -~]{1,255}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
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


def descriptor(raw: object) -> Descriptor:
    """The descriptor that a manifest's entry is (image specification, descriptor.md); raises ``ValueError``."""
    if not isinstance(raw, dict):
        raise ValueError(f"expected a descriptor, found {'null' if raw is None else type(raw).__name__}")
    media_type, digest, size = raw.get("mediaType"), raw.get("digest"), raw.get("size")
    if not isinstance(media_type, str) or not _MEDIA_TYPE.fullmatch(media_type):
        raise ValueError(f"expected a mediaType, found {_short(media_type)}")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"expected a digest, found {_short(digest)}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"expected a size in bytes, found {_short(size)}")
    return Descriptor(media_type, digest, size)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


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
            return parse_object(self.data)
        except ValueError as e:
            raise RegistryError(f"manifest {self.digest}: expected JSON, found {e}") from None

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.data))

    def blobs(self) -> Iterator[Descriptor]:
        """The config and the layers of an image manifest, in order; nothing of an index.

        Raises :class:`RegistryError` for an entry that is no descriptor.
        """
        document = self.json
        layers = document.get("layers") or []
        if not isinstance(layers, list):
            raise RegistryError(f"manifest {self.digest}: layers: expected a list, found {type(layers).__name__}")
        for where, entry in (("config", document.get("config")), *((f"layers[{i}]", e) for i, e in enumerate(layers))):
            if entry is not None:
                try:
                    yield descriptor(entry)
                except ValueError as e:
                    raise RegistryError(f"manifest {self.digest}: {where}: {e}") from None


@dataclass(frozen=True, slots=True)
class PutResult:
    """A manifest that the registry has.

    ``subject_accepted``: it keeps the list of referrers itself (``OCI-Subject``).
    """

    digest: str
    subject_accepted: bool = False
