"""Tasks that go wrong in every way a run has to tell apart."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

import flyte
import flyte.errors

env = flyte.TaskEnvironment(name="trouble", resources=flyte.Resources(cpu=1, memory="300Mi"))
stranger = flyte.TaskEnvironment(name="stranger")
private = flyte.TaskEnvironment(
    name="trouble-private",
    secrets=[flyte.Secret("my-key", group="team"), flyte.Secret("my-file", mount=Path("/etc/flyte/secrets"))],
)


def count(name: str) -> int:
    """How often this was called in the run, this time included."""
    path = Path(os.environ["_U_RUN_BASE"], f"count-{name}")
    with open(path, "a") as f:
        f.write("x")
    return len(path.read_text())


@env.task
async def broken(x: int) -> int:
    raise ValueError(f"no {x} today")


@env.task(retries=2)
async def third_time() -> int:
    calls = count("third")
    if calls < 3:
        raise RuntimeError(f"attempt {calls}")
    return calls


@env.task(retries=3)
async def hopeless() -> int:
    count("hopeless")
    raise flyte.errors.NonRecoverableError("never")


@env.task(timeout=timedelta(seconds=3))
async def endless() -> int:
    time.sleep(600)
    return 1


@env.task
async def glutton() -> int:
    return len(bytearray(600 << 20))


@env.task
async def vanishing() -> int:
    os._exit(3)


@env.task
async def waiting(seconds: int) -> int:
    count("waiting")
    await asyncio.sleep(seconds)
    return seconds


@env.task(retries=1)
async def parent_of_failures() -> int:
    """Its first attempt dies after its child failed once; the second must call the child anew."""
    return await fails_once()


@env.task
async def fails_once() -> int:
    calls = count("once")
    if calls == 1:
        raise RuntimeError("the first time")
    return calls


@stranger.task
async def unpinned() -> int:
    return 1


@private.task
async def reveal() -> str:
    return os.environ["TEAM_MY_KEY"] + Path("/etc/flyte/secrets/my-file").read_text()


@env.task
async def uncaught() -> int:
    return await broken(2)


@env.task
async def catches() -> list[str]:
    out = []
    for task, arguments in (
        (broken, (1,)),
        (hopeless, ()),
        (endless, ()),
        (glutton, ()),
        (vanishing, ()),
        (unpinned, ()),
    ):
        try:
            await task(*arguments)
            out.append(f"{task.short_name}: no error")
        except Exception as e:
            out.append(f"{task.short_name}: {type(e).__name__} {getattr(e, 'code', '')}: {str(e).splitlines()[0]}")
    out.append(f"third_time: {await third_time()}")
    out.append(f"parent_of_failures: {await parent_of_failures()}")
    return out


@env.task
async def cancels() -> str:
    running = asyncio.create_task(waiting(600))
    await asyncio.sleep(6)
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        return "cancelled"
    return "not cancelled"


@env.task
async def resumable(fail: bool) -> int:
    first = await waiting(0)
    if Path(os.environ["_U_RUN_BASE"], "fail").exists():
        raise RuntimeError("as asked")
    return first + await waiting(1)


@env.task
async def long() -> int:
    return sum(await asyncio.gather(waiting(600), waiting(601)))
