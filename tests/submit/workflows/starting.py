"""Tasks that start runs of their own, as a script on a laptop does."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import flyte
import flyte.errors
import flyte.remote
from flyte.io import File

leaf = flyte.TaskEnvironment(name="leaf")
top = flyte.TaskEnvironment(name="top", depends_on=[leaf])


@leaf.task
async def add(x: int, y: int = 1) -> int:
    return x + y


@leaf.task
async def read(file: File) -> tuple[str, str]:
    async with file.open("rb") as f:
        return bytes(await f.read()).decode(), os.environ.get("SAID", "nothing")


@leaf.task
async def fail(x: int) -> int:
    raise ValueError(f"bad {x}")


@top.task
async def parent(x: int) -> int:
    return await add(x) + await add(x, y=10)


@top.task
async def main() -> list[str]:
    # Not waited for: the outputs are, as on no backend, which has none before the end.
    early = await flyte.run.aio(add, 1)
    said = [str((await early.outputs.aio())[0])]
    run = await flyte.with_runcontext(name="called-so", env_vars={"SAID": "a word"}).run.aio(read, await _file())
    await run.wait.aio(quiet=True)
    said += [run.name, run.action.name, str(run.phase.value), str(tuple(await run.outputs.aio()))]
    below = await flyte.run.aio(parent, 5)
    await below.wait.aio(quiet=True)
    said.append(str((await below.outputs.aio())[0]))
    actions = [a async for a in flyte.remote.Action.listall.aio(for_run_name=below.name)]
    said.append(str(sorted(a.task_name or "" for a in actions)))
    failed = await flyte.run.aio(fail, 3)
    await failed.wait.aio(quiet=True)
    try:
        await failed.raise_for_status.aio()
    except flyte.errors.RuntimeUserError as e:
        said.append(f"{e.code}: {e}")
    for strange in ("called-so", "not a name/"):
        try:
            await flyte.with_runcontext(name=strange).run.aio(add, 1)
        except flyte.errors.RuntimeUserError as e:
            said.append(str(e.code))
    try:
        await flyte.remote.Run.get.aio("nobody")
    except Exception as e:
        said.append(str(e))
    try:
        await flyte.remote.Secret.get.aio("key")
    except Exception as e:
        said.append(str(e))
    return said


async def _file() -> File:
    path = Path(tempfile.mkdtemp(), "text.txt")
    path.write_text("hello")
    return await File.from_local(str(path))


@leaf.task
async def late(run: str) -> str:
    """Ends once the root of ``run`` has."""
    while not (await flyte.remote.ActionDetails.get.aio(run_name=run, name="a0")).done():
        await asyncio.sleep(0.1)
    return "done"


@top.task
async def leave() -> str:
    context = flyte.ctx()
    assert context is not None
    return (await flyte.run.aio(late, context.action.run_name)).name


@top.task
async def by_name() -> list[str]:
    """Tasks that this file's images need nothing of."""
    task = flyte.remote.Task.get("other.add", auto_version="latest")
    said = [str(await task(x=1)), str(await task(x=1, y=5))]
    details = await flyte.remote.Task.get("other.add", version="1").fetch.aio()
    said += [details.version, str(await details(x=10))]
    sour = await task.override.aio(env_vars={"SAID": "sour"}, short_name="sour")
    said.append(str(await sour(x=3)))
    run = await flyte.run.aio(task, x=7)
    said.append(str((await run.outputs.aio())[0]))
    try:
        await flyte.remote.Task.get("other.nothing", auto_version="latest")(x=1)
    except flyte.errors.RemoteTaskNotFoundError as e:
        said.append(type(e).__name__)
    return said
