"""The system calls that Python has no function for, as far as they are needed around a sandbox (Linux 5.12)."""

from __future__ import annotations

import ctypes
import os

__all__ = ["clone_mount", "idmap", "mount", "move_mount", "prctl", "unshare"]

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
# The same numbers on every architecture that flyte-build knows.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH = 1, 4
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_MOUNT_ATTR_IDMAP = 0x00100000

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    """``struct mount_attr`` (mount_setattr(2))."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _call(number: int, what: str, *arguments: object) -> int:
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *wide), what)


def unshare(flags: int) -> None:
    """unshare(2)"""
    _checked(_libc.unshare(ctypes.c_int(flags)), "new namespaces")


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), "prctl")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)"""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    _checked(_libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]), f"mount {source} on {target}")


def clone_mount(path: str) -> int:
    """A mount of what is at ``path``, with all that is mounted below it, which lies nowhere yet."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    return _call(_OPEN_TREE, path, _AT_FDCWD, os.fsencode(path), flags)


def idmap(tree: int, userns: int, path: str) -> None:
    """Show ``tree`` with the owners that ``userns`` maps those on the disk to; ``path`` is for the message."""
    attributes = _MountAttr(_MOUNT_ATTR_IDMAP, 0, 0, userns)
    size = ctypes.sizeof(attributes)
    what = f"{path}: its file system cannot show files under another owner"
    _call(_MOUNT_SETATTR, what, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size)


def move_mount(tree: int, target: str) -> None:
    """Put ``tree`` on ``target``."""
    _call(_MOVE_MOUNT, target, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
