"""A registry, a Docker daemon and a containerd of the test's own: private folders and sockets, ended by their PID."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.tools import need, need_root

__all__ = ["containerd", "docker_daemon", "registry", "shell"]

PATIENCE = 60


def shell(*command: str | Path, timeout: int = 300, umask: int = -1) -> str:
    """What ``command`` prints; a failure shows what it said."""
    said = [str(c) for c in command]
    done = subprocess.run(said, capture_output=True, text=True, timeout=timeout, umask=umask, check=False)
    assert done.returncode == 0, f"{' '.join(said)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def _running(command: list[str], log: Path, ready: list[str]) -> Iterator[None]:
    """``command`` in the background, from when ``ready`` succeeds until the block ends."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(ready, capture_output=True, timeout=PATIENCE, check=False).returncode:
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Debian's docker-registry on the loopback; gives ``127.0.0.1:PORT``."""
    program = need("docker-registry")
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    # YAML reads JSON.
    config = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    host, _, port = address.partition(":")
    code = f"import socket; socket.create_connection(({host!r}, {port}), 1)"
    with _running([program, "serve", str(folder / "config.yml")], folder / "log", ["python3", "-c", code]):
        yield address


@contextmanager
def docker_daemon(folder: Path) -> Iterator[str]:
    """A Docker daemon without networks; gives its address."""
    need_root("a Docker daemon")
    program, client = need("dockerd", "docker.io"), need("docker", "docker.io")
    folder.mkdir()
    address = f"unix://{folder}/docker.sock"
    command = [program, "--host", address, "--iptables=false", "--ip6tables=false", "--bridge=none"]
    command += ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
    with _running(command, folder / "log", [client, "--host", address, "version"]):
        yield address


@contextmanager
def containerd(folder: Path) -> Iterator[list[str]]:
    """A containerd without its Kubernetes plugin; gives the beginning of a ``ctr`` command."""
    need_root("a containerd")
    program, client = need("containerd"), need("ctr", "containerd")
    folder.mkdir()
    (folder / "config.toml").write_text(
        f"version = 2\n"
        f"root = {json.dumps(str(folder / 'root'))}\n"
        f"state = {json.dumps(str(folder / 'state'))}\n"
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f"[grpc]\n"
        f"address = {json.dumps(str(folder / 'sock'))}\n"
    )
    ctr = [client, "--address", str(folder / "sock")]
    with _running([program, "--config", str(folder / "config.toml")], folder / "log", [*ctr, "version"]):
        yield ctr
