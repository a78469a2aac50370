"""Servers that a sandbox tries to reach, this machine's own and one outside of it; and a Python for other users."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.tools import need, need_root

__all__ = ["Outside", "Services", "outside", "readable_python", "services"]

_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env"]


def readable_python() -> str:
    """A Python that others may run: this one, unless it lies in somebody's home."""
    # setpriv itself still has what it gives up, so that it could execute root's files: env has not.
    version = "import json, sys; sys.exit(sys.version_info < (3, 11))"
    for candidate in (os.path.realpath(sys.executable), "/usr/bin/python3", "/usr/local/bin/python3"):
        if subprocess.run([*_NOBODY, candidate, "-c", version], capture_output=True, check=False).returncode == 0:
            return candidate
    pytest.fail("no Python that an ordinary user may run (apt-get install python3)")


@dataclass
class Services:
    """What listens on this machine. ``heard`` is who was connected to, or sent something."""

    port: int
    abstract: str
    address: str
    heard: list[str] = field(default_factory=list)
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    ask: Callable[[], object] = lambda: None

    def callers(self) -> list[str]:
        """Who was heard by now: what is on its way in the kernel is waited for."""
        self.ask()
        assert self.asked.acquire(timeout=60)
        return list(self.heard)


def _own_address() -> str:
    """An address of this machine that is not loopback's; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("198.51.100.77", 9))
        return str(s.getsockname()[0])


@contextlib.contextmanager
def services() -> Iterator[Services]:
    """TCP and UDP on every IPv4 address, TCP on every IPv6 address and on an abstract Unix socket.

    All on one port, which 127.0.0.1 has, too.
    """
    four = socket.create_server(("0.0.0.0", 0))
    port = four.getsockname()[1]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", port))
    unix = socket.socket(socket.AF_UNIX)
    abstract = f"flyte-build-{os.getpid()}-{port}"
    unix.bind(f"\0{abstract}")
    unix.listen()
    servers = {four: "tcp", udp: "udp", unix: "abstract"}
    if socket.has_dualstack_ipv6() or os.path.exists("/proc/net/if_inet6"):
        with contextlib.suppress(OSError):
            servers[socket.create_server(("::", port), family=socket.AF_INET6)] = "tcp6"
    found = Services(port, abstract, _own_address())
    read, write = os.pipe()
    found.ask = lambda: os.write(write, b"?")

    def hear(*, wait: bool) -> list[Any]:
        ready, _, _ = select.select([*([read] if wait else ()), *servers], [], [], None if wait else 0.0)
        for server in ready:
            if server == read:
                continue
            found.heard.append(servers[server])
            if server is udp:
                udp.recv(100)
            else:
                server.accept()[0].close()
        return ready

    def serve() -> None:
        while True:
            if read in hear(wait=True):
                if os.read(read, 1) == b".":
                    return
                while hear(wait=False):
                    pass
                found.asked.release()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        os.write(write, b".")
        thread.join()
        for server in servers:
            server.close()
        os.close(read)
        os.close(write)


@dataclass(frozen=True)
class Outside:
    """A network namespace that stands for the rest of the world, and its server's address."""

    address: str
    port: int


_SERVER = """
import socket
server = socket.create_server(("0.0.0.0", 0))
print(server.getsockname()[1], flush=True)
while True:
    client, _ = server.accept()
    with client:
        client.sendall(b"hello from outside")
"""


@contextlib.contextmanager
def outside() -> Iterator[Outside]:
    """A server behind a cable of this machine's."""
    need_root("a network namespace for what is outside")
    ip = need("ip", "iproute2")
    name = f"fb-outside-{os.getpid()}"
    here, there, net = f"fbh{os.getpid()}", f"fbt{os.getpid()}", "198.51.100"
    server = None

    def run(*words: str) -> None:
        subprocess.run([ip, *words], check=True, capture_output=True, timeout=30)

    try:
        run("netns", "add", name)
        run("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        run("addr", "add", f"{net}.1/24", "dev", here)
        run("link", "set", here, "up")
        run("-n", name, "addr", "add", f"{net}.2/24", "dev", there)
        run("-n", name, "link", "set", there, "up")
        server = subprocess.Popen(
            [ip, "netns", "exec", name, sys.executable, "-u", "-c", _SERVER], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        yield Outside(f"{net}.2", int(server.stdout.readline()))
    finally:
        if server is not None:
            server.kill()
            server.communicate()
        subprocess.run([ip, "link", "del", here], check=False, capture_output=True, timeout=30)
        subprocess.run([ip, "netns", "del", name], check=False, capture_output=True, timeout=30)


def public_copy(folder: Path, package: Path) -> None:
    """The package where everyone may read it."""
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
