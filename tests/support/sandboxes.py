"""A sandbox over the host's own files, and a program run in it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from flyte_build.submit.action import ImageRoot
from flyte_build.submit.sandbox import engines, process
from flyte_build.submit.sandbox.spec import Engine, Mount, Network, Sandbox, Tmpfs


def box_of(image: ImageRoot, *mounts: Mount, network: Network = "host") -> Sandbox:
    binds = tuple(Mount(source, target) for source, target in image.binds)
    return Sandbox(
        image.root,
        image.python,
        (engines.init_mount(), *binds, *mounts),
        (Tmpfs("/run"), Tmpfs("/dev/shm", 1 << 20)),
        network=network,
    )


def run(engine: Engine, box: Sandbox, code: str, output: Path, **options: Any) -> int:
    async def go() -> int:
        argv = [box.python, "-c", code]
        running = await process.start(engine, box, argv, {"ONE": "1"}, "/", output=output, **options)
        return await running.wait()

    return asyncio.run(go())
