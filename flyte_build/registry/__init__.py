"""A client of OCI registries. It knows nothing of what images mean."""

from __future__ import annotations

from .client import Registry
from .failures import StatusError
from .reference import Reference
from .values import IMAGE_INDEX, IMAGE_MANIFEST, MANIFEST_TYPES, Descriptor, Manifest, PutResult

__all__ = [
    "IMAGE_INDEX",
    "IMAGE_MANIFEST",
    "MANIFEST_TYPES",
    "Descriptor",
    "Manifest",
    "PutResult",
    "Reference",
    "Registry",
    "StatusError",
]
