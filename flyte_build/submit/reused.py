"""A replica of a reusable environment, from its folders to its first word: a sandbox as an attempt's, that lives on.

What it does and when it ends is not known here (see ``warm/replicas``).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from ..kernel.cgroups import Group
from .action import ImageRoot, LaunchRequest
from .fresh import memory_backed, workdir
from .sandbox import process
from .sandbox.spec import Engine, Mount, Sandbox
from .scratch import clean
from .secrets import MOUNT as SECRETS
from .secrets import Secrets
from .storage import RunFolder
from .warm.replicas import Replica, ready
from .warm.told import command, programs, whole

__all__ = ["started"]


async def started(
    name: str,
    folder: RunFolder,
    engine: Engine,
    bare: Sandbox,
    request: LaunchRequest,
    image: ImageRoot,
    secrets: Secrets,
    furnish: Callable[[], Awaitable[tuple[tuple[Mount, ...], Mapping[str, str]]]],
    limits: Callable[[], Group | None],
) -> Replica:
    """The replica ``name`` of the environment of ``request``. Raises :class:`Lost`; then nothing of it is left.

    ``furnish`` makes its folders, and gives its mounts and variables.
    """
    scratch, group = folder.scratch / name, None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    folder.workers.mkdir(exist_ok=True)
    try:
        found, env = await furnish()
        mounts = (*found, *programs())
        group = limits()
        running = await process.start(
            engine,
            replace(bare, mounts=mounts, tmpfs=memory_backed(request, secrets)),
            command(bare, {"program": "replica", "control": theirs.fileno()}),
            whole(env),
            workdir(image),
            output=folder.workers / f"{name}.log",
            forward=True,
            files={f"{SECRETS}/{name}": value for name, value in secrets.files.items()},
            join=group.join if group is not None else (),
            inherit=[theirs.fileno()],
        )
        theirs.close()
        assert request.reuse is not None
        await ready(running, ours)
    except BaseException:
        ours.close()
        await asyncio.shield(asyncio.to_thread(clean, scratch, group))
        raise
    finally:
        theirs.close()
    replica = Replica(running, ours, mounts, scratch, group, policy=request.reuse)
    replica.listen()
    return replica
