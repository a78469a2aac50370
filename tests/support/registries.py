"""Registries that others wrote, on the loopback: docker-registry (plain; passwords over TLS; tokens) and crane's."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.certificates import Certificates, make_certificates
from tests.support.daemons import shell
from tests.support.sid import sid_program
from tests.support.tokens import ISSUER, SERVICE, TokenServer, token_server
from tests.support.tools import need

__all__ = ["KINDS", "PASSWORD", "USER", "Real", "real_registry"]

USER, PASSWORD = "user", "correct-horse"
# bcrypt of the password: the only form that docker-registry reads.
_HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuuZ0Fx87Pb/Aqb0E90lfvCwzXnaFKUHpS\n"
_PATIENCE = 30
KINDS = ("docker-registry", "docker-registry-tls", "docker-registry-token", "crane")


@dataclass(frozen=True)
class Real:
    """A registry that runs. ``environ``: what a client needs to be let in and to trust it."""

    kind: str
    host: str
    environ: Mapping[str, str] = field(default_factory=dict)
    authority: Path | None = None
    tokens: TokenServer | None = None

    def at(self, host: str) -> dict[str, str]:
        """``environ`` for the same registry under the name ``host``."""
        return {**self.environ, "FLYTE_BUILD_REGISTRY": host}

    def skopeo(self, *words: str | Path, side: str = "") -> str:
        """What skopeo says; ``side`` is ``src-`` or ``dest-`` where it copies."""
        options = [f"--{side}tls-verify={'true' if self.authority else 'false'}"]
        if self.authority is not None:
            options.append(f"--{side}cert-dir={self.authority.parent}")
        if "FLYTE_BUILD_REGISTRY_USER" in self.environ:
            options.append(f"--{side}creds={USER}:{PASSWORD}")
        return shell(need("skopeo"), words[0], *options, *words[1:])


@contextmanager
def real_registry(kind: str, folder: Path) -> Iterator[Real]:
    """One of :data:`KINDS`, with its data below ``folder``."""
    folder.mkdir(parents=True)
    if kind == "crane":
        address = _free()
        command = [sid_program("crane"), "registry", "serve", "--address", address]
        with _running([*command, "--disk", str(folder)], address, folder / "log"):
            yield Real(kind, address)
        return
    files = make_certificates(folder / "certs")
    if kind == "docker-registry-token":
        with token_server(files, USER, PASSWORD) as tokens:
            token = {"realm": tokens.url, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(files.authority)}
            with _docker_registry(folder, {"auth": {"token": token}}) as address:
                yield Real(kind, address, _login(address), tokens=tokens)
        return
    if kind == "docker-registry":
        with _docker_registry(folder, {}) as address:
            yield Real(kind, address)
        return
    assert kind == "docker-registry-tls"
    (folder / "htpasswd").write_text(_HTPASSWD)
    more: dict[str, Any] = {"auth": {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}}
    with _docker_registry(folder, more, files) as address:
        environ = {**_login(address), "SSL_CERT_FILE": str(files.authority)}
        yield Real(kind, address, environ, _authority_folder(folder, files))


def _login(host: str) -> dict[str, str]:
    return {
        "FLYTE_BUILD_REGISTRY": host,
        "FLYTE_BUILD_REGISTRY_USER": USER,
        "FLYTE_BUILD_REGISTRY_PASSWORD": PASSWORD,
    }


def _authority_folder(folder: Path, files: Certificates) -> Path:
    """As in ``/etc/docker/certs.d/HOST``: skopeo takes the folder."""
    target = folder / "certs.d" / "ca.crt"
    target.parent.mkdir()
    target.write_bytes(files.authority.read_bytes())
    return target


@contextmanager
def _docker_registry(folder: Path, more: Mapping[str, Any], tls: Certificates | None = None) -> Iterator[str]:
    address = _free()
    http: dict[str, Any] = {"addr": address}
    if tls is not None:
        http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}}
    # YAML reads JSON.
    config = {"version": 0.1, "log": {"level": "error"}, "storage": storage, "http": http, **more}
    (folder / "config.yml").write_text(json.dumps(config))
    with _running([need("docker-registry"), "serve", str(folder / "config.yml")], address, folder / "log"):
        yield address


def _free() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def _running(command: list[str], address: str, log: Path) -> Iterator[None]:
    """``command`` in the background, from when it listens until the block ends."""
    host, _, port = address.partition(":")
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                socket.create_connection((host, int(port)), 1).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text(errors="replace")
                assert time.monotonic() < deadline, log.read_text(errors="replace")
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
