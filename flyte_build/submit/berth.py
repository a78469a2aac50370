"""A command with the sandbox that it is to run in: what an attempt, and each container beside it, is started from.

Filled in by several hands (``local``, ``pods``, ``served``) before anything runs; starts nothing itself.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..kernel.cgroups import Group
from ..kernel.values import dataclass, field
from .action import Resources
from .sandbox.process import Process, start
from .sandbox.spec import Engine, Sandbox

__all__ = ["Berth", "launched"]


@dataclass(slots=True)
class Berth:
    """``argv`` with exactly ``env`` in ``cwd`` inside of ``box``; ``log`` takes its output, ``files`` are secrets.

    ``asked`` is what it may use. ``ports`` are those that it says it listens on; ``serves``, ``reaches`` and
    ``awaits`` are as :func:`~.sandbox.process.start` has them.
    """

    name: str
    box: Sandbox
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    log: Path
    files: Mapping[str, str] = field(default_factory=dict)
    asked: Resources = field(default_factory=Resources)
    ports: Sequence[int] = ()
    serves: list[tuple[socket.socket, int]] = field(default_factory=list)
    reaches: list[tuple[str, int, str]] = field(default_factory=list)
    awaits: tuple[int, int] | None = None

    def close(self) -> None:
        """Nobody reaches its ports any more."""
        while self.serves:
            self.serves.pop()[0].close()


async def launched(engine: Engine, berth: Berth, group: Group | None, *, forward: bool = False) -> Process:
    """Start it, in ``group`` where there is one. ``forward``: with a port that leads to the actions service."""
    return await start(
        engine,
        berth.box,
        berth.argv,
        berth.env,
        berth.cwd,
        output=berth.log,
        forward=forward,
        files=berth.files,
        join=group.join if group is not None else (),
        serves=[(listener.fileno(), port) for listener, port in berth.serves],
        reaches=berth.reaches,
        awaits=berth.awaits,
    )
