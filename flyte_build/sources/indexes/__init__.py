"""Python package indexes: where they are configured, what they hold, how a file is had from one.

Locking asks it what exists, fetching where a locked file lies today. An index's address is always
configuration (law 1): ``settings`` reads pip's and uv's own; nothing here names a host, and nothing here
chooses a version.
"""

from __future__ import annotations

from .client import IndexClient, Location, WheelMetadata
from .http import redact
from .pages import IndexFile
from .settings import Index, IndexSettings, configured

__all__ = [
    "Index",
    "IndexClient",
    "IndexFile",
    "IndexSettings",
    "Location",
    "WheelMetadata",
    "configured",
    "redact",
]
