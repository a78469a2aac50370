"""What the engine holds of one action while its run goes on, and how it refuses. Nothing here acts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set

from ..kernel.values import dataclass, field
from .journal import ActionRecord
from .latch import Latch

__all__ = ["AlreadyExists", "Call", "ChildRun", "Live", "NotFound"]


class AlreadyExists(Exception):
    """The action is there already, alive or with an outcome that stands."""


class NotFound(Exception):
    """No such action, or none that still runs."""


@dataclass(frozen=True, slots=True)
class ChildRun:
    """What a run that a task started has of its own: variables of all its actions, and whether it reads the cache."""

    env: Mapping[str, str] = field(default_factory=dict)
    refresh: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """What is still to be known of a task's action once it is read: where its inputs are, its cache key, its spec."""

    inputs: str
    key: str
    spec: bytes


_OVER = Latch()
_OVER.set()


@dataclass(slots=True)
class Live:
    """An action; ``record`` is replaced as it goes on. ``within``: the child run that it is of, as its parent is.

    A run may have thousands, of which most have ended: then nothing is held but what may still be asked for.
    """

    record: ActionRecord
    depth: int
    within: ChildRun | None = None
    job: asyncio.Task[ActionRecord] | None = None
    keeper: asyncio.Task[None] | None = None
    signal: asyncio.Future[bytes] | None = None
    children: Set[str] = frozenset()
    alive: int = 0  # how many of them
    ended: Latch = field(default_factory=Latch)
    # False once the parent has begun a new attempt: its runtime shall call anew, not be told of an old failure.
    announced: bool = True

    @classmethod
    def below(cls, record: ActionRecord, parent: Live | None, child: ChildRun | None = None) -> Live:
        """That of ``record``, which ``parent`` called, in its child run unless it begins one."""
        return cls(record, parent.depth + 1 if parent else 0, child or (parent.within if parent else None))

    def calls(self, name: str) -> None:
        """It has called the action ``name``."""
        if isinstance(self.children, set):
            self.children.add(name)
        else:
            self.children = {name}

    def over(self) -> None:
        """It has ended, and whoever waits for that hears of it."""
        self.ended.set()
        self.ended, self.job, self.keeper, self.signal = _OVER, None, None, None
