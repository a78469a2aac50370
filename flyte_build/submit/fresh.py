"""What is fresh in every sandbox: the folders that a task may write to, as its image has them, and its names.

Everything is made on the host before anything of the task's runs; paths of an image are resolved below its root.
"""

from __future__ import annotations

import posixpath
import shutil
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from .action import ImageRoot, LaunchRequest, Resources
from .limits import MOST_FILES, shared_memory
from .removal import remove_left
from .sandbox.engines import init_mount
from .sandbox.spec import SOCKET, Mount, Network, Tmpfs
from .scheduler import machine
from .secrets import MOUNT as SECRETS
from .secrets import Secrets
from .storage import BUNDLES, MOUNT, RunFolder
from .unpack import scoped
from .warm.told import PLACE

if TYPE_CHECKING:
    pass

__all__ = [
    "HOME", "environment", "folders_of", "memory_backed", "mounts_of", "names", "resolver", "seed", "shared", "shm_of",
    "workdir", "writable",
]  # fmt: skip

HOME = "/home/flyte"
_NOBODY: Mapping[str, str] = MappingProxyType({})
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
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


def names(scratch: Path, network: Network, nameserver: str | None, more: Mapping[str, str] = _NOBODY) -> list[Mount]:
    """How names are resolved: as on the host where there is a network, else only the sandbox's own; ``more`` besides.

    ``more``: name → address.
    """
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
    with open(hosts, "a", encoding="utf-8") as f:
        f.writelines(f"{address} {name}\n" for name, address in more.items())
    return [*mounts, Mount(hosts, "/etc/hosts")]


def environment(
    image: ImageRoot,
    request: LaunchRequest,
    secrets: Secrets,
    token: str,
    told: Mapping[str, str] = _NOBODY,
    hosts: Iterable[str] = (),
) -> dict[str, str]:
    """The image's own variables, then the task's, ``told`` and the contract's: nothing of the host's.

    ``hosts`` are more names that no proxy stands before.
    """
    env = {
        "HOME": HOME,
        "USER": "flyte",
        "LOGNAME": "flyte",
        # The log is a file: without this the last lines of a killed task would be lost.
        "PYTHONUNBUFFERED": "1",
        # The runtime spares a backend that many share: 100 calls a second. Here a run has its own.
        "_F_MAX_QPS": "2000",
        **dict(item.partition("=")[::2] for item in image.env),
        **request.env,
        **secrets.env,
        **told,
        "_U_EP_OVERRIDE": f"http://127.0.0.1:0/{token}",
    }
    for name in ("NO_PROXY", "no_proxy"):
        # A proxy that the user gives the task must not come between it and its own service.
        env[name] = ",".join([*filter(None, [env.get(name)]), *_LOOPBACK, *hosts])
    return env


def memory_backed(request: LaunchRequest, secrets: Secrets) -> tuple[Tmpfs, ...]:
    """The folders that lie in memory, and how large they are."""
    held = sum(len(value.encode()) for value in secrets.files.values())
    own = Tmpfs(SECRETS, Tmpfs(SECRETS).size + 2 * held)
    return Tmpfs("/run"), Tmpfs("/mnt/flyte"), own, shm_of(request.resources)


def shm_of(asked: Resources) -> Tmpfs:
    """Shared memory, for who asks for this."""
    return Tmpfs("/dev/shm", shared_memory(asked.shm, asked.memory, machine()[1]), inodes=MOST_FILES)


def folders_of(image: ImageRoot, scratch: Path) -> list[Mount]:
    """The fresh folders, made in ``scratch``, and what the image has from elsewhere."""
    found = []
    for number, target in enumerate(writable(image)):
        own = scratch / str(number)
        seed(image.root, target, own)
        found.append(Mount(own, target, writable=True))
    return found + [Mount(source, target) for source, target in image.binds]


def mounts_of(
    image: ImageRoot,
    scratch: Path,
    folder: RunFolder,
    network: Network,
    nameserver: str | None,
    hosts: Mapping[str, str] = _NOBODY,
) -> tuple[Mount, ...]:
    """All that a sandbox has, its own in ``scratch``, which is made anew. ``hosts`` are names that it knows besides."""
    remove_left(scratch)
    scratch.mkdir(parents=True)
    found = [init_mount(), Mount(folder.socket, SOCKET, writable=True)]
    found += folders_of(image, scratch)
    found += names(scratch, network, nameserver, hosts)
    found += [
        Mount(folder.seen, MOUNT),
        Mount(folder.kept, f"{MOUNT}/{folder.name}/kept"),
        Mount(folder.meta, f"{MOUNT}/{folder.name}/meta", writable=True),
        Mount(folder.raw, f"{MOUNT}/{folder.name}/raw", writable=True),
        Mount(folder.bundles, BUNDLES),
    ]
    return tuple(found)


def shared(folder: RunFolder) -> tuple[Mount, ...]:
    """What every sandbox of the run has, and workers have for those they make."""
    return (
        Mount(folder.socket, f"{PLACE}/actions.sock", writable=True),
        Mount(folder.seen, f"{PLACE}/seen"),
        Mount(folder.kept, f"{PLACE}/kept"),
        Mount(folder.meta, f"{PLACE}/meta", writable=True),
        Mount(folder.raw, f"{PLACE}/raw", writable=True),
        Mount(folder.bundles, f"{PLACE}/bundles"),
    )
