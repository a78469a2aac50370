"""What a step finds besides its image: other trees of files, caches, folders of memory. From the inside of a sandbox.

Trees are laid below ``/run``, which no layer holds, each with a folder of its own for what is changed of it and then
forgotten. Mount points that were not there are told, so that no layer holds them either.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from typing import Any

from . import calls
from .copying import followed

__all__ = ["CannotPlace", "lay", "made", "part", "place", "root_at"]

_AT = "/run/.from"


class CannotPlace(Exception):
    """Said in words."""


def root_at(number: int) -> str:
    """Where the tree of this number lies."""
    return f"{_AT}/{number}"


def lay(root: str, spec: Mapping[str, Any]) -> None:
    """Before the image is the root directory: mount the trees and caches of ``spec`` below ``root``. ``spec["more"]``
    is a folder for what they need of the disk."""
    more = spec["more"]
    if spec["roots"] or spec["mounts"]:
        os.mkdir(f"{root}{_AT}", 0o700)
    for number, over in enumerate(spec["roots"]):
        at, upper, work = f"{root}{root_at(number)}", f"{more}/upper-{number}", f"{more}/work-{number}"
        for folder in (at, upper, work):
            os.mkdir(folder)
        below = over or [f"{more}/empty"]
        calls.mount(
            "overlay", at, "overlay", 0, f"lowerdir={':'.join(below)},upperdir={upper},workdir={work},userxattr"
        )
    for number, what in enumerate(spec["mounts"]):
        if what["kind"] == "cache":
            at, source = f"{root}{_AT}/cache-{number}", f"{more}/cache-{number}"
            os.mkdir(at)
            os.mkdir(source)
            os.chown(source, *what["owner"])
            os.chmod(source, what["mode"])
            calls.mount(source, at, None, calls.BIND)


def place(spec: Mapping[str, Any]) -> list[str]:
    """Once the image is the root directory: put each mount over its target; the mount points that were not there."""
    found: list[str] = []
    for number, what in enumerate(spec["mounts"]):
        target = os.path.realpath(posixpath.join("/", spec["workdir"], what["target"]))
        source = f"{_AT}/cache-{number}"
        if what["kind"] == "bind":
            source = _inside(root_at(what["root"]), what["source"])
        folder = what["kind"] == "tmpfs" or os.path.isdir(source)
        if target == "/":
            raise CannotPlace("nothing can be mounted over the whole image")
        found += made(target, folder=folder)
        if what["kind"] == "tmpfs":
            calls.mount("tmpfs", target, "tmpfs", calls.NOSUID | calls.NODEV, "mode=1777")
            continue
        calls.mount(source, target, None, calls.BIND)
        if not what["writable"]:
            calls.mount("none", target, None, calls.REMOUNT | calls.BIND | calls.READ_ONLY)
    return found


def part(spec: Mapping[str, Any]) -> None:
    """Before programs run: they see what is mounted for them, and nothing else of the trees."""
    for number in range(len(spec["roots"])):
        calls.umount(root_at(number))


def _inside(root: str, path: str) -> str:
    at = followed(root, path)
    if not os.path.lexists(at):
        raise CannotPlace(f"`{path}` is not there to be mounted")
    return at


def made(target: str, *, folder: bool) -> list[str]:
    """Make the file or folder that is mounted over, and the folders on the way, where they are missing."""
    found, at = [], ""
    parts = target.strip("/").split("/")
    for part in parts if folder else parts[:-1]:
        at = f"{at}/{part}"
        if not os.path.isdir(at):
            os.mkdir(at, 0o755)
            found.append(at.strip("/"))
    if not os.path.lexists(target):
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        found.append(target.strip("/"))
    return found
