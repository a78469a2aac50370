"""The index on the loopback, for the laws about locks."""

from __future__ import annotations

from ..locking.conftest import index  # noqa: F401
