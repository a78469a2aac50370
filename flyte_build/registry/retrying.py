"""How long to be patient with a registry: exponential pauses with jitter, and what its ``Retry-After`` asks for."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable
from typing import TypeVar

from ..kernel.documents import is_number
from ..kernel.errors import RegistryError
from .failures import Transient
from .messages import Headers

__all__ = ["Patience", "retry_after"]

_T = TypeVar("_T")
_LONGEST = 120.0


class Patience:
    """``attempts`` in all; ``wait`` sleeps for seconds; ``chance`` gives a number from 0 to 1."""

    def __init__(
        self,
        attempts: int = 6,
        first: float = 0.5,
        wait: Callable[[float], object] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.attempts = attempts
        self._first = first
        self._wait = wait
        self._chance = chance

    def pause(self, failures: int, failure: Transient) -> None:
        """Wait after the ``failures``-th failure in a row; raises its error when that was the last, or the wait too
        long.

        The wait is between half and all of 0.5, 1, 2, … seconds, and never less than the registry asks for.
        """
        if failures >= self.attempts:
            raise RegistryError(f"{failure.error.message} ({failures} attempts)", hint=failure.error.hint) from None
        if failure.pause is not None and failure.pause > _LONGEST:
            words = f"{failure.error.message} (asks to wait {failure.pause:.0f} s)"
            raise RegistryError(words, hint=failure.error.hint) from None
        step = min(self._first * 2.0 ** (failures - 1), _LONGEST) * (0.5 + self._chance() / 2)
        self._wait(max(step, failure.pause or 0.0))

    def insist(self, attempt: Callable[[], _T]) -> _T:
        """What ``attempt`` gives, as often as it takes."""
        failures = 0
        while True:
            try:
                return attempt()
            except Transient as failure:
                failures += 1
                self.pause(failures, failure)


def retry_after(headers: Headers, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that ``Retry-After`` asks for, as a number or a date (RFC 9110, section 10.2.3); else ``None``."""
    value = headers.get("retry-after", "").strip()
    if is_number(value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now())
    except (ValueError, TypeError, IndexError):
        return None
