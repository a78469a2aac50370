"""A client of OCI registries. It knows nothing of what images mean.

What needs no connection (references, values) comes without one: an HTTP client takes longer to load than a build that
fetches nothing takes to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .reference import Reference
from .values import IMAGE_INDEX, IMAGE_MANIFEST, MANIFEST_TYPES, Descriptor, Manifest, PutResult

if TYPE_CHECKING:
    from .client import Registry
    from .failures import StatusError

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

_CONNECTED = {"Registry": "client", "StatusError": "failures"}


def __getattr__(name: str) -> Any:
    if name not in _CONNECTED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".{_CONNECTED[name]}", __name__), name)
