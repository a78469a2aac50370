"""One small task for each thing that a run has to do."""

import asyncio
import os
import pathlib
import tempfile
import time
from dataclasses import dataclass, field

import flyte
import flyte.report
from flyte.io import Dir, File

env = flyte.TaskEnvironment(
    name="everything",
    image=flyte.Image.from_debian_base(python_version=(3, 11)),
    env_vars={"GREETING": "good day"},
)


@dataclass
class Options:
    """How to count."""

    ignore: list[str] = field(default_factory=list)
    least: int = 1


@env.task
async def letters(text: File, options: Options) -> dict[str, int]:
    """How often each letter of `text` occurs."""
    async with text.open("rb") as f:
        said = (await f.read()).decode().lower()
    counts = {c: said.count(c) for c in sorted(set(said)) if c.isalpha() and c not in options.ignore}
    return {c: n for c, n in counts.items() if n >= options.least}


@env.task(cache=flyte.Cache("override", version_override="1"))
async def square(x: int) -> int:
    """`x` times `x`, once."""
    return x * x


@env.task(retries=2)
async def third_time() -> int:
    """Fails twice."""
    tries = pathlib.Path(os.environ["_U_RUN_BASE"], "tries")
    with tries.open("a") as f:
        f.write("x")
    if len(tries.read_text()) < 3:
        raise RuntimeError("not yet")
    return len(tries.read_text())


@env.task(report=True)
async def pages(counts: dict[str, int]) -> Dir:
    """A folder with a file for each letter, and a report."""
    folder = pathlib.Path(tempfile.mkdtemp())
    for letter, count in counts.items():
        (folder / f"{letter}.txt").write_text(letter * count)
    await flyte.report.replace.aio(f"<b>{len(counts)} letters</b>")
    await flyte.report.flush.aio()
    return await Dir.from_local(str(folder))


@env.task
async def everything(text: File, options: Options, numbers: list[int]) -> tuple[Dir, str]:
    """Counts, maps, retries and writes a report."""
    counts = await letters(text, options)
    squares = list(flyte.map(square, numbers))
    with flyte.group("stubborn"):
        tries, folder = await asyncio.gather(third_time(), pages(counts))
    return folder, f"{os.environ['GREETING']}: {squares}, {tries} tries, {sorted(counts)}"


@env.task
async def refuses(x: int) -> int:
    """Fails on purpose."""
    if x > 0:
        raise ValueError(f"expected nothing above 0, found {x}")
    return x


@env.task
async def calls_refuses(x: int) -> int:
    """Fails because what it calls does."""
    return await refuses(x + await square(x))


@env.task
async def sleeps(seconds: int) -> int:
    """Waits, and blocks while it does."""
    time.sleep(seconds)
    return seconds


@env.task
async def waits(seconds: int) -> int:
    """Waits for two that wait."""
    return sum(await asyncio.gather(sleeps(seconds), sleeps(seconds + 1)))
