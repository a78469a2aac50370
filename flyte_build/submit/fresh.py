"""What is fresh in every sandbox: the folders that a task may write to, as its image has them, and its names.

Everything is made on the host before anything of the task's runs; paths of an image are resolved below its root.
"""

from __future__ import annotations

import posixpath
import shutil
import socket
from pathlib import Path

from .action import ImageRoot
from .sandbox.spec import Mount, Network
from .unpack import scoped

__all__ = ["HOME", "names", "resolver", "seed", "workdir", "writable"]

HOME = "/home/flyte"
_FRESH = (HOME, "/root", "/tmp", "/var/tmp")


def resolver(text: str, nameserver: str | None) -> str:
    """The host's resolv.conf(5), with the one nameserver that a sandbox reaches where it does not reach the host's."""
    if nameserver is None:
        return text
    kept = [line for line in text.splitlines() if line.split()[:1] != ["nameserver"]]
    return "\n".join([*kept, f"nameserver {nameserver}", ""])


def workdir(image: ImageRoot) -> str:
    """The image's working directory, into which the runtime unpacks the code; ``/`` is no place for that."""
    found = posixpath.normpath(image.workdir or "/")
    return HOME if found == "/" or not found.startswith("/") else found


def writable(image: ImageRoot) -> list[str]:
    """The fresh folders, outer before inner."""
    folder = workdir(image)
    inside = any(folder.startswith(f"{fresh}/") for fresh in _FRESH)
    return list(_FRESH) if folder in _FRESH or inside else [*_FRESH, folder]


def seed(root: Path, target: str, own: Path) -> None:
    """``own`` becomes a copy of what the image has at ``target``, the task's to change."""
    there = scoped(root, target, follow=True)
    if there.is_dir():
        shutil.copytree(there, own, symlinks=True)
    else:
        own.mkdir()
    own.chmod(0o1777 if target.endswith("tmp") else 0o755)


def names(scratch: Path, network: Network, nameserver: str | None) -> list[Mount]:
    """How names are resolved: as on the host where there is a network, else only the sandbox's own."""
    hosts = scratch / "hosts"
    mounts = []
    try:
        if network == "none":
            raise FileNotFoundError
        hosts.write_bytes(Path("/etc/hosts").read_bytes())
        own = scratch / "resolv.conf"
        own.write_text(resolver(Path("/etc/resolv.conf").read_text(errors="replace"), nameserver))
        mounts.append(Mount(own, "/etc/resolv.conf"))
    except OSError:
        hosts.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n::1 localhost\n")
    return [*mounts, Mount(hosts, "/etc/hosts")]
