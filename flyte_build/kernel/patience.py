"""What has to be ended in order when somebody interrupts, which may take longer than a moment.

Whoever watches interrupts (the command line) waits for what is told here, and for nothing else. Ends nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ending", "patiently"]

_ending: list[str] = []


@contextmanager
def patiently(words: str) -> Iterator[None]:
    """What goes on inside has to be ended: ``words`` say so to who interrupts and waits (none where they are empty)."""
    _ending.append(words)
    try:
        yield
    finally:
        _ending.remove(words)


def ending() -> str | None:
    """What would have to be ended now; ``None``: nothing."""
    return _ending[-1] if _ending else None
