"""What the engine holds of one action while its run goes on, and how it refuses. Nothing here acts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from .journal import ActionRecord

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


@dataclass(slots=True)
class Live:
    """An action; ``record`` is replaced as it goes on. ``within``: the child run that it is of, as its parent is."""

    record: ActionRecord
    depth: int
    within: ChildRun | None = None
    job: asyncio.Task[ActionRecord] | None = None
    keeper: asyncio.Task[None] | None = None
    signal: asyncio.Future[bytes] | None = None
    children: set[str] = field(default_factory=set)
    alive: int = 0  # how many of them
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    # False once the parent has begun a new attempt: its runtime shall call anew, not be told of an old failure.
    announced: bool = True

    @classmethod
    def below(cls, record: ActionRecord, parent: Live | None, child: ChildRun | None = None) -> Live:
        """That of ``record``, which ``parent`` called, in its child run unless it begins one."""
        return cls(record, parent.depth + 1 if parent else 0, child or (parent.within if parent else None))
