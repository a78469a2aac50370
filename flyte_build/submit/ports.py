"""Ports of one sandbox that others reach: over Unix sockets, for each may have a loopback of its own.

A socket listens in a folder that no sandbox sees; who serves has it as an open file, who reaches has it mounted, so no
sandbox can put another in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from .berth import Berth
from .sandbox.spec import Mount

__all__ = ["carry", "listening", "reach", "serve_port"]

_PLACE = "/run/flyte-build/ports"


def reach(berth: Berth, port: int, path: Path, address: str = "127.0.0.1") -> None:
    """Let ``berth`` find at ``address`` and ``port`` what listens on the Unix socket ``path``."""
    inside = f"{_PLACE}/{address}-{port}.sock"
    berth.reaches.append((address, port, inside))
    berth.box = replace(berth.box, mounts=(*berth.box.mounts, Mount(path, inside, writable=True)))


def listening(path: Path) -> socket.socket:
    """A Unix socket at ``path`` that listens."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        # Through the descriptor, because a socket's address has room for 107 bytes and a folder's path has not.
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.chmod(path, 0o600)
        listener.listen(64)
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(folder)
    return listener


async def serve_port(listener: socket.socket, to: Callable[[], int | Path | None]) -> asyncio.Server:
    """Let every connection to ``listener`` lead to where ``to`` says then: a port of the loopback, or a Unix socket."""

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await carry(reader, writer, _connected(to()))

    return await asyncio.start_server(lead, sock=listener)


async def _connected(to: int | Path | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(to, int):
        return await asyncio.open_connection("127.0.0.1", to)
    if to is None:
        raise ConnectionRefusedError
    folder = os.open(to.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{to.name}")
    finally:
        os.close(folder)


async def carry(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    there: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]],
) -> None:
    """Carry a connection of this machine to ``there`` and back, until both ends are done."""
    try:
        far_reader, far_writer = await there
    except OSError:
        writer.close()
        return
    try:
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
    finally:
        for end in (writer, far_writer):
            end.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    with contextlib.suppress(OSError):
        sink.write_eof()
