"""What a step is lent of this machine: names of hosts, certificates, proxies, and a network's way out.

None of it is part of the outcome: files are mounted over their places, variables are the sandbox's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..kernel.errors import SandboxError
from .nouns import Network, Step

__all__ = ["Outlet", "environment_of", "files_of", "network_of"]

_CERTIFICATES = "/run/certificates.crt"
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
# What those read that speak TLS: OpenSSL, Python, pip, curl, git, Node, Rust.
_NAMED = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS",
          "CARGO_HTTP_CAINFO")  # fmt: skip
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
FIXED: Mapping[str, str] = {
    "HOME": "/root",
    "SOURCE_DATE_EPOCH": "315532800",
    "FORCE_SOURCE_DATE": "1",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PERL_HASH_SEED": "0",
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
}
"""What programs see besides the image's variables, so that they come out the same: no chance, no questions."""


def network_of(asked: Network) -> tuple[Network, str | None]:
    """The network that this machine can give, and why it is more than ``asked``."""
    if asked != "internet":
        return asked, None
    if shutil.which("slirp4netns") is None:
        return "host", "slirp4netns is not installed"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "host", "/dev/net/tun cannot be used"
    return "internet", None


def environment_of(step: Step, network: Network) -> dict[str, str]:
    """All variables of the step's programs."""
    found = {**FIXED, **step.environment}
    if network != "none":
        found |= {name: value for name in _PROXIES for name in (name, name.upper()) if (value := os.environ.get(name))}
        if _bundle() is not None:
            found |= dict.fromkeys(_NAMED, _CERTIFICATES)
    found |= step.lent
    return found | {one.env: one.value.decode("utf-8", "surrogateescape") for one in step.secrets if one.env}


def files_of(step: Step, network: Network) -> list[tuple[str, int, str, int, int]]:
    """Files as :mod:`.entering` mounts them: path, mode, content in hex, uid and gid."""
    hosts = b"127.0.0.1 localhost sealed\n::1 localhost\n"
    files: list[tuple[str, int, bytes, int, int]] = [("/etc/hosts", 0o644, hosts, 0, 0)]
    if network != "none":
        files.append(("/etc/resolv.conf", 0o644, _resolver(network), 0, 0))
        if (bundle := _bundle()) is not None:
            files.append((_CERTIFICATES, 0o644, bundle.read_bytes(), 0, 0))
    files += [(one.path, one.mode, one.value, *one.owner) for one in step.secrets if one.path]
    return [(path, mode, content.hex(), uid, gid) for path, mode, content, uid, gid in files]


def _resolver(network: Network) -> bytes:
    """resolv.conf(5): the machine's own, or slirp4netns' and the machine's search list."""
    rows = []
    with suppress(OSError):
        rows = Path("/etc/resolv.conf").read_text(encoding="utf-8", errors="replace").splitlines()
    if network == "internet":
        rows = ["nameserver 10.0.2.3", *(row for row in rows if row.startswith(("search", "options", "domain")))]
    return "".join(f"{row}\n" for row in rows).encode()


def _bundle() -> Path | None:
    named = os.environ.get("SSL_CERT_FILE")
    return next((Path(p) for p in (named, *_BUNDLES) if p and Path(p).is_file()), None)


class Outlet:
    """slirp4netns(1) for the processes of one step; ends with the ``with`` block. The host's loopback is closed."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def attach(self, pid: int) -> None:
        """Give the network namespace of ``pid`` a way out. Raises :class:`SandboxError` with the helper's words."""
        read, write = os.pipe()
        command = ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", f"--ready-fd={write}"]
        command += [f"--userns-path=/proc/{pid}/ns/user", str(pid), "tap0"]
        helper = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=(write,),
            start_new_session=True,
        )  # fmt: skip
        self._running.append(helper)
        os.close(write)
        with os.fdopen(read, "rb") as ready:
            if ready.read(1) != b"1":
                words = helper.communicate()[1].decode(errors="replace").strip().splitlines()
                raise SandboxError(
                    f"slirp4netns: {words[-1] if words else 'it ended before there was a network'}",
                    hint='set `seal-network = "host"` or `"none"`',
                )

    def __enter__(self) -> Outlet:
        return self

    def __exit__(self, *_: object) -> None:
        for helper in self._running:
            helper.kill()
            helper.communicate()
