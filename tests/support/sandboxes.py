"""A sandbox over the host's own files, and a program run in it: in a process of its own, or in a worker's fork."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flyte_build.kernel.cgroups import Cgroups
from flyte_build.submit.action import ImageRoot
from flyte_build.submit.sandbox import engines, process
from flyte_build.submit.sandbox.entrance import Entrance
from flyte_build.submit.sandbox.spec import Engine, Mount, Network, Sandbox, Tmpfs
from flyte_build.submit.warm.forked import Forked
from flyte_build.submit.warm.pool import Pool, Worker
from flyte_build.submit.warm.told import PLACE

_BIN = f"{PLACE}/bin"


class Forking(Entrance):
    """An entrance whose sandboxes are those of a worker's forks."""

    __slots__ = ()

    @classmethod
    def of(cls, found: Entrance) -> Forking:
        return cls(**{f.name: getattr(found, f.name) for f in dataclasses.fields(found)})


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
    env = {"ONE": "1"}

    async def go() -> int:
        if not isinstance(engine, Forking):
            running = await process.start(engine, box, [box.python, "-c", code], env, "/", output=output, **options)
            return await running.wait()
        async with worker(engine, box, output.with_name(f"{output.name}-worker")) as (pool, warm, own):
            assert warm is not None
            forked = await begin(pool, warm, own, ["a0", code], env, output=output, **options)
            return await forked.wait()

    return asyncio.run(go())


async def begin(
    pool: Pool, worker: Worker, box: Sandbox, argv: Sequence[str], env: Mapping[str, str], **options: Any
) -> Forked:
    found = await pool.start(worker, box, argv, env, "/", **options)
    assert found is not None, pool.note
    return found


@asynccontextmanager
async def worker(
    engine: Engine,
    box: Sandbox,
    folder: Path,
    *,
    script: str = "import sys; exec(sys.argv[1])",
    preload: Sequence[str] = (),
) -> AsyncIterator[tuple[Pool, Worker | None, Sandbox]]:
    """A worker whose ``a0`` is ``script``, and ``box`` as its forks have it."""
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "bin" / "a0").write_text(f"#!{box.python}\n{script}\n")
    (folder / "bin" / "a0").chmod(0o755)
    mounts = [m for m in box.mounts if m != engines.init_mount()]
    bare = dataclasses.replace(box, mounts=(*mounts, Mount(folder / "bin", _BIN)))
    shared = [Mount(m.source, f"{PLACE}/shared{number}", m.writable) for number, m in enumerate(mounts)]
    notes: list[str] = []
    pool = Pool(
        engine, folder, folder / "logs", shared, Cgroups(None, None, unified=False), 4096, notes.append, preload=preload
    )
    try:
        async with pool.worker(bare, "sha256:aa", ("a0",), {"PATH": _BIN}, "tests") as warm:
            if warm is None:
                pool.note = notes[0]  # type: ignore[assignment]
            yield pool, warm, dataclasses.replace(bare, mounts=(engines.init_mount(), *bare.mounts))
    finally:
        await pool.close()


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback that nothing has now; for tests that share the machine's with what they start.

    None of those that the kernel gives to connections, which it may do before a test's program listens there.
    """
    with contextlib.ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            port = 10_000 + secrets.randbelow(22_000)
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
        return found
