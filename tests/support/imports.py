"""Users' files are imported in tests: what one imported, the next must not find."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["forgotten"]


@contextmanager
def forgotten() -> Iterator[None]:
    """Forget the modules that were imported inside, but for those that are installed, and restore ``sys.path``."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - modules:
        if "site-packages" not in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
    sys.path[:] = path
