"""A workflow over three environments that uses most of what the SDK offers to a task's author."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import flyte
import flyte.report
from flyte.io import Dir, File

leaf = flyte.TaskEnvironment(name="leaf", env_vars={"FLAVOUR": "plain"})
middle = flyte.TaskEnvironment(name="middle", depends_on=[leaf])
top = flyte.TaskEnvironment(name="top", depends_on=[middle, leaf])


@leaf.task
def double(x: int) -> int:
    return 2 * x


@leaf.task
async def flavour() -> str:
    return f"{os.environ['FLAVOUR']} in {os.environ['IMAGE_NAME']}"


def seccomp() -> int:
    """2: this process's system calls are filtered, 0: they are not (proc_pid_status(5))."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("Seccomp:")))


@leaf.task
def filter_of_leaf() -> int:
    return seccomp()


@middle.task
async def filters() -> list[int]:
    return [seccomp(), await filter_of_leaf.aio()]


@leaf.task(cache=flyte.Cache("override", version_override="1"))
async def slow_square(x: int) -> int:
    return x * x


@leaf.task
async def write(text: str) -> File:
    path = Path(tempfile.mkdtemp(), "text.txt")
    path.write_text(text)
    return await File.from_local(str(path))


@middle.task(report=True)
async def shout(file: File) -> tuple[File, Dir]:
    async with file.open("rb") as f:
        text = (await f.read()).decode()
    folder = Path(tempfile.mkdtemp())
    (folder / "shout.txt").write_text(text.upper())
    await flyte.report.replace.aio(f"<b>{text}</b>")
    await flyte.report.flush.aio()
    return await File.from_local(str(folder / "shout.txt")), await Dir.from_local(str(folder))


@middle.task
async def nested(x: int) -> int:
    return await double.aio(await slow_square(x))


@flyte.trace
async def traced(x: int) -> int:
    return x + 1


@top.task
async def main(text: str) -> str:
    with flyte.group("words"):
        words, (shouted, folder) = await asyncio.gather(flavour.override(env_vars={"FLAVOUR": "sour"})(), both(text))
    async with shouted.open("rb") as f:
        said = (await f.read()).decode()
    files = [f.name async for f in folder.walk()]
    numbers = list(flyte.map(double, [1, 2]))
    return f"{words}|{said}|{files}|{numbers}|{await nested(3)}|{await traced(6)}"


async def both(text: str) -> tuple[File, Dir]:
    return await shout(await write(text))
