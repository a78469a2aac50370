"""A reusable environment whose replicas are pods: what its actions share, and how one ends without the others."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta

import flyte
import flyte.errors

shared = flyte.TaskEnvironment(name="leaf", reusable=flyte.ReusePolicy(replicas=1, concurrency=4, idle_ttl=3600))
env = flyte.TaskEnvironment(name="top", depends_on=[shared])

STARTED = os.urandom(4).hex()
COUNT = {"calls": 0, "there": 0}


@shared.task
async def counts() -> str:
    COUNT["calls"] += 1
    print("counted", COUNT["calls"])
    return f"{STARTED} {COUNT['calls']}"


@shared.task
async def together(count: int) -> str:
    COUNT["there"] += 1
    while COUNT["there"] < count:
        await asyncio.sleep(0.01)
    return STARTED


@shared.task(timeout=timedelta(seconds=1))
async def endless() -> str:
    await asyncio.sleep(600.0)
    return "never"


@shared.task
async def crashes() -> str:
    print("before the crash")
    os._exit(3)


async def failure(call: object) -> str:
    try:
        return str(await call)  # type: ignore[misc]
    except flyte.errors.BaseRuntimeError as e:
        return f"{type(e).__name__} {e}"


@env.task
async def main() -> list[str]:
    counted = [await counts() for _ in range(3)]
    crowd = await asyncio.gather(*(together(3) for _ in range(3)))
    late = await failure(endless())
    after = await counts()
    crashed = await failure(crashes())
    return [*counted, *crowd, late, after, crashed, await counts()]
