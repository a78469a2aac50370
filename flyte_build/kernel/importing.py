"""Importing a library without what nobody here asks of it. Never changes what is imported already."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

__all__ = ["httpx_alone"]


@contextmanager
def httpx_alone() -> Iterator[None]:
    """Where importing httpx does not import its command line, with rich and pygments: it does without where they are
    not installed, and so it takes half the time."""
    command = "httpx._main"
    if command in sys.modules:
        yield
        return
    sys.modules[command] = cast(Any, None)  # what Python has for a module that cannot be imported
    try:
        yield
    finally:
        if sys.modules.get(command) is None:
            del sys.modules[command]
