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
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

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

    def strangers(self) -> list[str]:
        """Who was heard besides this test, which calls last, so that all who called before were heard."""
        socket.create_connection(("127.0.0.1", self.port)).close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"x", ("127.0.0.1", self.port))
        own = ["tcp", "udp"]
        for _ in range(6000):
            if all(kind in self.heard for kind in own):
                break
            time.sleep(0.01)
        found = list(self.heard)
        for kind in own:
            found.remove(kind)
        return found


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
    stop_read, stop_write = os.pipe()

    def serve() -> None:
        while True:
            ready, _, _ = select.select([stop_read, *servers], [], [])
            if stop_read in ready:
                return
            for server in ready:
                found.heard.append(servers[server])
                if server is udp:
                    udp.recv(100)
                else:
                    server.accept()[0].close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        os.write(stop_write, b"1")
        thread.join()
        for server in servers:
            server.close()
        os.close(stop_read)
        os.close(stop_write)


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
