"""Registries on the loopback to push to, each with a second address that counts what passes.

Debian's docker-registry; with ``--quick`` and no peer the one of the tests, in this process. What is timed goes to
``host``. What is counted goes to ``counting``, in a run of its own: the bytes of both directions as they are on the
line, headers included, and the requests that the registry saw.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.relay import Relay

__all__ = ["PROGRAM", "Place", "Traffic", "started"]

PROGRAM = "docker-registry"
_PATIENCE = 30
_REQUEST = re.compile(rb'"(?:GET|HEAD|POST|PUT|PATCH|DELETE) /v2/')


@dataclass(frozen=True, slots=True)
class Traffic:
    """``requests``, and bytes ``up`` to the registry and ``down`` from it."""

    requests: int
    up: int
    down: int

    def __str__(self) -> str:
        plural = "" if self.requests == 1 else "s"
        return f"{self.requests} request{plural}, {_bytes(self.up)} up, {_bytes(self.down)} down"


@dataclass(frozen=True)
class Place:
    """``host`` and ``counting`` are one registry's two addresses, ``127.0.0.1:PORT``."""

    host: str
    relay: Relay
    requests: Callable[[], int]

    @property
    def counting(self) -> str:
        return self.relay.host

    @contextmanager
    def counted(self) -> Iterator[list[Traffic]]:
        """What passes ``counting`` while the block runs, in the list at its end."""
        found: list[Traffic] = []
        before = self.requests()
        self.relay.zero()
        yield found
        found.append(Traffic(self.requests() - before, self.relay.passed["up"], self.relay.passed["down"]))


@contextmanager
def started(folder: Path, *, real: bool) -> Iterator[Place]:
    """An empty registry with its data below ``folder``, until the block ends; ``real``: a process of its own."""
    from tests.support.relay import Relay

    if not real:
        from tests.support.registry import RegistryServer

        with RegistryServer() as server, Relay(server.host) as relay:
            yield Place(server.host, relay, lambda: len(server.requests))
        return
    log = folder / "log"
    with _docker_registry(folder, log) as host, Relay(host) as relay:
        yield Place(host, relay, lambda: _logged(log))


def _logged(log: Path) -> int:
    # A request is written down after its answer.
    time.sleep(0.2)
    return len(_REQUEST.findall(log.read_bytes()))


@contextmanager
def _docker_registry(folder: Path, log: Path) -> Iterator[str]:
    program = shutil.which(PROGRAM)
    assert program is not None, "its absence is said before"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    host = f"127.0.0.1:{port}"
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": host},
    }
    # YAML reads JSON.
    (folder / "config.yml").write_text(json.dumps(config))
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program, "serve", str(folder / "config.yml")],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        _await(port, process, log)
        yield host
    finally:
        process.terminate()
        process.wait(_PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{PROGRAM}: does not listen\n{log.read_text(errors='replace')[-2000:]}") from None
            time.sleep(0.05)


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
