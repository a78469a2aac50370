"""One action in a fork of a worker, from start to end, asynchronously: what ``sandbox/process`` is to a cold one.

Its link is its lifeline: whatever happens to this process, it closes, and nothing of the sandbox survives. What comes
back over it was written by hostile hands, and is read as such.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..sandbox.process import GRACE_SECONDS

__all__ = ["Forked", "Lost", "begin", "readable"]

PATIENCE = 60.0
_CREDENTIALS = struct.calcsize("iII")
_LINE = 4096


class Lost(Exception):
    """The worker did not begin the action; says why."""


class Forked:
    """A running action. ``stop`` may be called at any time, also after its end."""

    def __init__(
        self, pid: int, handles: list[int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.pid = pid
        self._handles, self._reader, self._writer = handles, reader, writer
        self._end = asyncio.create_task(self._read_end())

    async def wait(self) -> int:
        """The exit code: the command's own, or 128 + N when signal N ended it."""
        code = await self.ended()
        return 137 if code is None else code

    async def ended(self) -> int | None:
        """The exit code; ``None`` where the worker's process was killed before it could say one."""
        return await asyncio.shield(self._end)

    async def _read_end(self) -> int | None:
        try:
            found = await _line(self._reader)
            code = found.get("code")
            return code & 0xFF if isinstance(code, int) else None
        except (OSError, ValueError):
            return None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # A hostile worker's may say that it ended, and go on.
                signal.pidfd_send_signal(self._handles[0], signal.SIGKILL)
            _close(self._handles)
            self._writer.close()

    async def stop(self, grace: float = GRACE_SECONDS) -> int:
        """End it: SIGTERM to every process inside, and after ``grace`` seconds SIGKILL."""
        if not self._end.done():
            with contextlib.suppress(OSError):
                self._writer.write(b"t")
            await asyncio.wait([self._end], timeout=grace)
        if not self._end.done():
            with contextlib.suppress(OSError):
                self._writer.write_eof()
            await asyncio.wait([self._end], timeout=1.0)
        if not self._end.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handles[0], signal.SIGKILL)
        return await self.wait()


async def begin(
    control: socket.socket,
    header: Mapping[str, Any],
    *,
    output: Path,
    join: Sequence[Path] = (),
    attach: Callable[[int], Awaitable[int]] | None = None,
) -> Forked:
    """Let the worker behind ``control`` begin what ``header`` says; see ``worker.py``. Raises :class:`Lost`.

    ``output`` takes both standard streams, ``join`` are ``cgroup.procs`` files that its first process enters before it
    does anything. ``attach`` gives its namespaces a network, which is there as long as the descriptor is open.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    handles: list[int] = []  # its process's, its network's
    writer = None
    try:
        async with asyncio.timeout(PATIENCE):
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            ours.setblocking(False)
            socket.send_fds(control, [b"a"], [log, theirs.fileno()])
            theirs.close()
            pid = await _first_words(ours)
            # It waits for a word: its number is still its own.
            handles.append(os.pidfd_open(pid))
            if join:
                # The kernel holds who asks for up to some ten milliseconds, and others of this loop go on meanwhile.
                entering = asyncio.create_task(asyncio.to_thread(_enter, join, pid))
                try:
                    await asyncio.shield(entering)
                except asyncio.CancelledError:
                    await asyncio.wait([entering])  # as long as its number is its own
                    raise
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_LINE)
            writer.write(b"g")
            if attach is not None:
                if await reader.readexactly(1) != b"n":
                    raise Lost((await _line(reader)).get("refused", "it has no network"))
                handles.append(await attach(pid))
            writer.write(json.dumps(header).encode() + b"\n")
            await writer.drain()
            found = await _line(reader)
            if found.get("entered") is not True:
                raise Lost(str(found.get("refused", "it did not enter its sandbox"))[:500])
    except BaseException as e:
        if handles:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(handles[0], signal.SIGKILL)
            _close(handles)
        (ours if writer is None else writer).close()
        if isinstance(e, OSError | ValueError | EOFError):  # a timeout is an OSError
            raise Lost(str(e) or type(e).__name__) from e
        raise
    finally:
        os.close(log)
        theirs.close()
    return Forked(pid, handles, reader, writer)


def _close(handles: list[int]) -> None:
    while handles:
        os.close(handles.pop())


def _enter(groups: Sequence[Path], pid: int) -> None:
    for procs in groups:
        with open(procs, "r+") as f:
            f.write(f"{pid}\n")


async def _line(reader: asyncio.StreamReader) -> dict[str, Any]:
    """One line of JSON; raises ValueError for anything else, and where there is none."""
    found = json.loads(await reader.readline())
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, found {type(found).__name__}")
    return found


async def readable(handle: socket.socket | int) -> None:
    """Until there is something to receive."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(handle, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(handle)


async def _first_words(link: socket.socket) -> int:
    """The number, here, of the process that begins the action: the kernel tells it with its first word."""
    while True:
        try:
            data, ancillary, _, _ = link.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS))
        except BlockingIOError:
            await readable(link)
            continue
        for level, kind, message in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and data == b"s":
                pid: int = struct.unpack("iII", message[:_CREDENTIALS])[0]
                return pid
        if data == b"{":  # it was written at once
            found = json.loads(data + link.recv(_LINE))
            raise Lost(str(found.get("refused", "it is no worker any more"))[:500])
        raise ValueError("the worker ended")
