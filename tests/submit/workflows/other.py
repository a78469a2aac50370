"""A task that is called by name, whose module nobody who calls it can import."""

from __future__ import annotations

import os

import flyte

other = flyte.TaskEnvironment(name="other")


@other.task
async def add(x: int, y: int = 100) -> int:
    return x + y + (1000 if os.environ.get("SAID") == "sour" else 0)
