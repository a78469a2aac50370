"""Reusable environments: what their actions share, and how one ends without the others."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import flyte
import flyte.errors

# A replica that takes several at once, and one that takes one.
wide = flyte.TaskEnvironment(name="leaf", reusable=flyte.ReusePolicy(replicas=(1, 2), concurrency=4, idle_ttl=3600))
narrow = flyte.TaskEnvironment(name="middle", reusable=flyte.ReusePolicy(replicas=1, concurrency=1, idle_ttl=3600))
env = flyte.TaskEnvironment(name="top", depends_on=[wide, narrow])

STARTED = os.urandom(4).hex()
COUNT = {"calls": 0}


async def others(name: str, count: int) -> None:
    """Until ``count`` actions came here."""
    folder = Path(os.environ["_U_RUN_BASE"])
    (folder / f"{name}-{os.urandom(4).hex()}").touch()
    while len(list(folder.glob(f"{name}-*"))) < count:
        await asyncio.sleep(0.01)


@wide.task
async def counts() -> str:
    COUNT["calls"] += 1
    print("counted", COUNT["calls"])
    return f"{STARTED} {COUNT['calls']}"


@wide.task
async def together(count: int) -> str:
    await others("together", count)
    return f"{STARTED} {os.getpid()} {threading.current_thread().name}"


@wide.task(timeout=timedelta(seconds=2))
async def endless() -> str:
    await asyncio.sleep(600.0)
    return "never"


@wide.task
async def patient(ends: bool = True) -> str:
    """Ends once its neighbours did, or never."""
    folder = Path(os.environ["_U_RUN_BASE"])
    (folder / f"patient-{os.urandom(4).hex()}").touch()
    while not (ends and (folder / "go-on").exists()):
        await asyncio.sleep(0.01)
    return STARTED


@wide.task
async def fails(x: int) -> int:
    raise ValueError(f"no {x} today")


@wide.task
async def crashes(with_others: int) -> str:
    await others("crashes", with_others)
    os._exit(3)


@wide.task
async def bystander(with_others: int) -> str:
    if not list(Path(os.environ["_U_RUN_BASE"]).glob("bystander-came")):
        (Path(os.environ["_U_RUN_BASE"]) / "bystander-came").touch()
        await others("crashes", with_others)
        await asyncio.sleep(600.0)
    return f"again: {STARTED}"


@wide.task
async def moves() -> str:
    os.chdir("/tmp")
    return STARTED


@narrow.task
def blocks(seconds: float) -> str:
    time.sleep(seconds)
    return STARTED


@narrow.task
def factorial(n: int) -> int:
    """Calls itself, in an environment of one replica that takes one action."""
    return 1 if n < 2 else n * factorial(n - 1)


@env.task
async def shares() -> list[str]:
    found = [await counts(), await counts(), await counts()]
    return found + list(await asyncio.gather(*(together(4) for _ in range(4))))


@env.task
async def ends() -> list[str]:
    """A timeout, an abort and a failure, beside one that goes on."""
    first = await counts()
    staying = asyncio.create_task(patient())
    said = [first.split()[0]]
    for call in (endless(), fails(3)):
        try:
            said.append(str(await call))
        except flyte.errors.BaseRuntimeError as e:
            said.append(f"{type(e).__name__} {e.code}: {e}")
    cancelled = asyncio.create_task(patient(ends=False))
    while len(list(Path(os.environ["_U_RUN_BASE"]).glob("patient-*"))) < 2:
        await asyncio.sleep(0.01)
    cancelled.cancel()
    try:
        await cancelled
    except asyncio.CancelledError:
        said.append("cancelled")
    Path(os.environ["_U_RUN_BASE"], "go-on").touch()
    return [*said, await staying, (await counts()).split()[0]]


@env.task
async def crash() -> list[str]:
    found = await asyncio.gather(crashes(2), bystander(2), return_exceptions=True)
    after = (await counts()).split()[1]
    return [f"{type(x).__name__} {x}" if isinstance(x, BaseException) else str(x) for x in (*found, after)]


@env.task
async def changed() -> list[str]:
    return [(await counts()).split()[0], await moves(), (await counts()).split()[0]]


@env.task
async def alone() -> list[str]:
    try:
        await blocks.override(timeout=timedelta(seconds=2)).aio(600.0)
    except flyte.errors.BaseRuntimeError as e:
        first = f"{type(e).__name__} {e.code}"
    return [first, await blocks.aio(0.0), await blocks.aio(0.0)]


@env.task
async def recurses() -> int:
    return await factorial.aio(4)
