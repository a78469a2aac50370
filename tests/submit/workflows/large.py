"""Tasks that hand on more than a message may hold, unless they say so."""

from __future__ import annotations

import flyte
import flyte.errors

leaf = flyte.TaskEnvironment(name="leaf")
env = flyte.TaskEnvironment(name="top", depends_on=[leaf])
MIB = 1 << 20


@leaf.task(max_inline_io_bytes=80 * MIB)
async def long(text: str) -> str:
    return text + "!"


@leaf.task
async def usual(text: str) -> int:
    return len(text)


@env.task
async def main(size: int) -> list[int]:
    """Lengths of what came back; -1 where the SDK itself refused to hand it on."""
    text = "x" * (size * MIB)
    answer = await long(text)
    try:
        found = await usual(text)
    except flyte.errors.InlineIOMaxBytesBreached:
        found = -1
    return [len(answer), found]
