"""News from threads, brought to a loop together: a wake-up for each of thousands costs more than what it is about."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Container

__all__ = ["gathered"]


def gathered(
    loop: asyncio.AbstractEventLoop, seconds: float, wanted: Container[str], tell: Callable[[str], None]
) -> Callable[[str], None]:
    """What any thread may call with a name: ``tell`` hears it in ``loop``, once for all that comes in ``seconds``.

    Names that are not ``wanted`` are passed over.
    """
    told: set[str] = set()
    lock = threading.Lock()

    def bring() -> None:
        with lock:
            names = tuple(told)
            told.clear()
        for name in names:
            tell(name)

    def take(name: str) -> None:
        if name not in wanted or loop.is_closed():
            return
        with lock:
            first = not told
            told.add(name)
        if first:
            loop.call_soon_threadsafe(loop.call_later, seconds, bring)

    return take
