"""Small blobs into a registry: documents, payloads and configurations that are in memory anyway."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

from ..registry.reference import Reference
from ..registry.values import digest_of

if TYPE_CHECKING:
    from ..registry.client import Registry

__all__ = ["EMPTY_TYPE", "push_bytes"]

EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
"""The media type of an empty config (image specification, "Guidance for an Empty Descriptor")."""


def push_bytes(registry: Registry, repository: Reference, data: bytes, media_type: str) -> dict[str, Any]:
    """See to it that ``repository`` has ``data``; its OCI descriptor as JSON. Raises :class:`RegistryError`."""

    def opened(offset: int) -> BinaryIO:
        return io.BytesIO(data[offset:])

    digest = digest_of(data)
    registry.push_blob(repository, digest, len(data), opened)
    return {"mediaType": media_type, "digest": digest, "size": len(data)}
