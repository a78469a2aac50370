"""The control group below which all pods are, in whichever of its two versions the machine has (cgroups(7)).

Version 1 has a tree for each controller; version 2 has one tree, in which a controller is handed down level by level.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["ROOT", "cgroup_version", "cgroups", "make_cgroup", "remove_cgroup"]

ROOT = Path("/sys/fs/cgroup")
# What the kubelet limits and counts by (its cm/cgroup_v2_manager_linux.go).
_WANTED = ("cpu", "cpuset", "hugetlb", "io", "memory", "pids")
_PATIENCE = 30


def cgroup_version(root: Path = ROOT) -> int:
    return 2 if (root / "cgroup.controllers").exists() else 1


def cgroups(name: str, root: Path = ROOT) -> Iterator[Path]:
    """Where the group of this name is or would be."""
    trees = [root] if cgroup_version(root) == 2 else sorted(p for p in root.glob("*") if not p.is_symlink())
    return (tree / name for tree in trees if (tree / "cgroup.procs").exists())


def make_cgroup(name: str, root: Path = ROOT) -> list[str]:
    """Gives the controllers of version 2 that the machine did not hand down before.

    :raises OSError: one cannot be handed down
    """
    for group in cgroups(name, root):
        group.mkdir(exist_ok=True)
    if cgroup_version(root) == 1:
        return []
    there, down = ((root / f"cgroup.{file}").read_text().split() for file in ("controllers", "subtree_control"))
    missing = [controller for controller in _WANTED if controller in there and controller not in down]
    _hand_down(root, "+", missing)
    return missing


def remove_cgroup(name: str, controllers: Sequence[str] = (), root: Path = ROOT) -> None:
    """The group and all below it, once what was in it has ended; each is an empty folder to whoever removes it.

    ``controllers`` are those that :func:`make_cgroup` gave.

    :raises OSError: somebody is still in there
    """
    for group in cgroups(name, root):
        deadline = time.monotonic() + _PATIENCE
        while group.exists():
            try:
                for folder, _, _ in os.walk(group, topdown=False):
                    os.rmdir(folder)
            except FileNotFoundError:
                continue
            except OSError as e:
                if e.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
    _hand_down(root, "-", controllers)


def _hand_down(root: Path, sign: str, controllers: Sequence[str]) -> None:
    if controllers:
        (root / "cgroup.subtree_control").write_text(" ".join(f"{sign}{controller}" for controller in controllers))
