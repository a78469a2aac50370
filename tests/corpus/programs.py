"""Small programs in the shapes of the SDK's public examples: all of them run here, and in the SDK's own local mode, and
what comes of them is compared.

Each is a module with an environment ``env`` and a task ``main`` that takes nothing and gives a text. They are our own;
nothing of the examples is copied. ``python -m tests.corpus.programs DIR`` writes them, for ``./dev corpus DIR --run``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EVERY", "Program", "modules", "parsed", "write"]

HEAD = """import asyncio
import os
from typing import Optional

import flyte

env = flyte.TaskEnvironment("{name}")


"""

# One run of all: each ``main`` is called by one task, which tells what each gave or how it failed.
EVERY = """import asyncio
import importlib

import flyte

NAMES = {names!r}
MODULES = {{name: importlib.import_module(name) for name in NAMES}}
env = flyte.TaskEnvironment("every", depends_on=[m.env for m in MODULES.values()])


async def told(name: str) -> str:
    main = MODULES[name].main
    try:
        return str(await main.aio())
    except Exception as e:
        words = str(e).strip().splitlines() or [""]
        return f"{{type(e).__name__}} {{getattr(e, 'code', '')}}: {{words[0]}}"


@env.task
async def every(at_once: int) -> dict[str, str]:
    room = asyncio.Semaphore(at_once)

    async def one(name: str) -> str:
        async with room:
            return await told(name)

    return dict(zip(NAMES, await asyncio.gather(*(one(name) for name in NAMES))))
"""


@dataclass(frozen=True, slots=True)
class Program:
    """``text`` follows ``HEAD``; ``gives`` is what it gives here, and, unless ``local`` says else, in local mode."""

    name: str
    text: str
    gives: str
    local: str | None = None


def parsed(text: str) -> tuple[Program, ...]:
    """Programs as they are written: ``#: name -> what it gives`` (``| what local mode gives``), then the program."""
    found = []
    for part in text.split("\n#: ")[1:]:
        title, _, body = part.partition("\n")
        name, _, gives = title.partition(" -> ")
        here, _, local = gives.partition(" | ")
        found.append(Program(name, body.strip("\n") + "\n", here, local or None))
    return tuple(found)


def modules(programs: Iterable[Program]) -> dict[str, str]:
    """Each program's module by its name, and ``every``."""
    found = {p.name: HEAD.format(name=p.name) + p.text for p in programs}
    return found | {"every": EVERY.format(names=sorted(found))}


def write(programs: Iterable[Program], folder: Path) -> None:
    """Each as a file of ``folder``, which is made."""
    folder.mkdir(parents=True)
    for name, text in modules(programs).items():
        (folder / f"{name}.py").write_text(text)


if __name__ == "__main__":
    from .programs_calls import CALLS
    from .programs_errors import ERRORS
    from .programs_files import FILES
    from .programs_values import VALUES

    write((*VALUES, *FILES, *CALLS, *ERRORS), Path(sys.argv[1]))
