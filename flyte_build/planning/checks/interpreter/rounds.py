"""Questions that ask each other in circles, answered in rounds: each is asked once a round, until one changes nothing.

``t["b"] = t["a"].abs()`` says what ``t`` holds by what ``t`` holds. Following every way through such circles takes time
exponential in their number; a round takes time linear in the questions. The work is bounded, and counted in steps, not
in seconds, so that an answer is the same on every machine. Knows nothing of syntax or values but when two are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeAlias

from .values import Values, identities, unique

__all__ = ["Rounds", "TooMuch"]

Ask: TypeAlias = Callable[[], Values]

_DEPTH = 50
_ROUNDS = 8
STEPS = 3_000_000
"""Some ten seconds of a common machine; the largest projects that were seen take a hundredth of it."""


class TooMuch(Exception):
    """The work that one check may take is done, and the answer is not there."""


class Rounds:
    """The answers so far. ``steps``: how many questions and values there may be in all."""

    def __init__(self, steps: int = STEPS) -> None:
        self.left = steps
        self._known: dict[Hashable, Values] = {}
        self._before: dict[Hashable, Values] = {}
        self._now: dict[Hashable, Values] = {}
        self._later: dict[Hashable, Ask] = {}
        self._busy: set[Hashable] = set()
        self._cut = False

    def spend(self, steps: int = 1) -> None:
        """Raises :class:`TooMuch` when no step is left."""
        self.left -= steps
        if self.left < 0:
            raise TooMuch

    def answer(self, key: Hashable, ask: Ask) -> Values:
        """What ``ask`` gives, each meaning once; ``key`` names the question, for good.

        Inside of a circle, or very deep, it is what is known so far; who asked first gets the whole.
        """
        for table in (self._known, self._now):
            if key in table:
                return table[key]
        if not self._busy:
            return self._settled(key, ask)
        if key in self._busy or len(self._busy) >= _DEPTH:
            self._cut = True
            if key not in self._busy:
                self._later.setdefault(key, ask)
            return self._before.get(key, ())
        return self._once(key, ask)

    def _once(self, key: Hashable, ask: Ask) -> Values:
        self._busy.add(key)
        try:
            found = unique(ask())
        finally:
            self._busy.discard(key)
        self.spend(1 + len(found))
        self._now[key] = found
        return found

    def _settled(self, key: Hashable, ask: Ask) -> Values:
        asked = {key: ask}
        try:
            for _ in range(_ROUNDS):
                self._cut = False
                # What was too deep last time is asked first now, and is there when the others come to it.
                for name in reversed(asked):
                    if name not in self._now:
                        self._once(name, asked[name])
                while left := {k: a for k, a in self._later.items() if k not in self._now}:
                    self._later = {}
                    asked |= left
                    for name, one in left.items():
                        if name not in self._now:
                            self._once(name, one)
                if not self._cut or self._same():
                    break
                self._before, self._now = self._now, {}
            else:
                self._now = self._before
            self._known |= self._now
            return self._known[key]
        finally:
            self._before, self._now, self._later = {}, {}, {}

    def _same(self) -> bool:
        return self._before.keys() == self._now.keys() and all(
            identities(self._before[k]) == identities(v) for k, v in self._now.items()
        )
