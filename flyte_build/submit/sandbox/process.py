"""One sandboxed command from start to end, asynchronously.

Its standard input is our lifeline to process 1 inside (see ``init.py``): whatever happens to this process,
the pipe closes and nothing of the sandbox survives. Output goes to a file, never through us.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...kernel.seccomp import descriptor
from .spec import SOCKET, Engine, Sandbox

__all__ = ["Process", "start"]

GRACE_SECONDS = 5.0


class Process:
    """A running sandbox. ``stop`` may be called at any time, also after its end."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child

    @property
    def pid(self) -> int:
        """The engine's process on the host (the sandbox's processes are below it)."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.returncode is None

    async def wait(self) -> int:
        """The exit code: the command's own, or 128 + N when signal N ended it."""
        code = await self._child.wait()
        return 128 - code if code < 0 else code

    async def stop(self, grace: float = GRACE_SECONDS) -> int:
        """End it: SIGTERM to every process inside, and after ``grace`` seconds SIGKILL."""
        stdin = self._child.stdin
        assert stdin is not None
        if self._child.returncode is None:
            try:
                stdin.write(b"t")
                await asyncio.wait_for(asyncio.shield(self._child.wait()), grace)
            except (TimeoutError, ConnectionError):
                pass
        stdin.close()
        if self._child.returncode is None:
            try:
                await asyncio.wait_for(asyncio.shield(self._child.wait()), 1.0)
            except TimeoutError:
                self._child.kill()
        return await self.wait()


async def start(
    engine: Engine,
    box: Sandbox,
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    *,
    output: Path,
    forward: bool = False,
    join: Sequence[Path] = (),
    files: Mapping[str, str] | None = None,
    inherit: Sequence[int] = (),
    serves: Sequence[tuple[int, int]] = (),
    reaches: Sequence[tuple[str, int, str]] = (),
    awaits: tuple[int, int] | None = None,
) -> Process:
    """Run ``argv`` with exactly ``env`` in ``cwd`` inside ``box``.

    ``output`` (created, appended to) takes both standard streams. With ``forward`` a loopback port leads to the
    Unix socket mounted at ``SOCKET``. ``files`` (path inside → text) are written there, on a tmpfs, for nobody else
    and never on a disk. ``join`` are ``cgroup.procs`` files the sandbox enters before it exists, ``inherit`` open files
    that the command has, too. ``serves``: (listening socket, port inside that answers on it); ``reaches``:
    (address and port inside, Unix socket as it is inside). ``awaits``: (port, open file that gets a byte once something
    listens on it, and until when no connection is taken).
    """
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        with descriptor(box.filtered, nests=box.nests) as seccomp:
            command = list(engine.command(box, seccomp))
            if join:
                # The shell joins the groups and becomes the engine, so that no process of the sandbox is ever outside.
                script = 'for f in $1; do echo $$ >"$f" || exit 125; done; shift; exec "$@"'
                command = ["/bin/sh", "-c", script, "sh", " ".join(map(str, join)), *command]
            child = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={},
                cwd="/",
                start_new_session=True,
                pass_fds=(
                    *inherit,
                    *(file for file, _ in serves),
                    *(awaits or ())[1:],
                    *(() if seccomp is None else (seccomp,)),
                ),
            )
    finally:
        os.close(log)
    process = Process(child)
    header: dict[str, Any] = {
        "argv": list(argv),
        "env": dict(env),
        "cwd": cwd,
        "socket": SOCKET if forward else None,
        "files": files,
    }
    header |= {"serves": list(serves), "reaches": list(reaches), "awaits": awaits}
    assert child.stdin is not None
    try:
        child.stdin.write(json.dumps(header).encode() + b"\n")
        await child.stdin.drain()
    except ConnectionError:
        pass  # it is dead already; wait() and the log say why
    except asyncio.CancelledError:
        await process.stop(grace=0)
        raise
    return process
