"""What a machine needs for the cluster, and what of it this one lacks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .build import find_go
from .site import ClusterError

__all__ = ["cni_folder", "lacking"]

# Program → Debian package.
PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "docker-registry": "docker-registry",
    "ip": "iproute2",
    "unshare": "util-linux",
    "mount": "mount",
}
_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
_CNI = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_PLUGINS = ("bridge", "host-local", "loopback")
# The node says that its disk is full at 1 GiB; what is built takes 0.2 GiB.
_DISK = 2 << 30


def cni_folder() -> Path | None:
    """Where the plug-ins are that connect pods to a network."""
    complete = (folder for folder in _CNI if all((folder / name).exists() for name in _PLUGINS))
    return next(complete, None)


def lacking(home: Path) -> Iterator[str]:
    """Each a phrase with what to do about it; nothing: ``up`` can start. ``home`` is where the cluster would be."""
    try:
        find_go()
    except ClusterError as e:
        yield str(e)
    if os.geteuid() != 0:
        yield "expected to be root, whom mounts, control groups and networks take; try sudo"
    packages = {package for program, package in PROGRAMS.items() if not _which(program)}
    if cni_folder() is None:
        packages.add("containernetworking-plugins")
    if packages:
        yield f"expected programs that are missing (apt-get install {' '.join(sorted(packages))})"
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    if (free := shutil.disk_usage(existing).free) < _DISK:
        yield f"expected {_DISK >> 30} GiB free in {existing}, found {free / 2**30:.1f}"


def _which(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_PATH)
