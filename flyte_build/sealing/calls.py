"""The system calls of a sandbox, by name: mounts, namespaces, process attributes. Linux only; holds no rule."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

__all__ = [
    "BIND",
    "DETACH",
    "NEWIPC",
    "NEWNET",
    "NEWNS",
    "NEWPID",
    "NEWUSER",
    "NEWUTS",
    "NODEV",
    "NOEXEC",
    "NOSUID",
    "READ_ONLY",
    "REC",
    "REMOUNT",
    "SLAVE",
    "die_with_parent",
    "end_first",
    "filter_calls",
    "fix_addresses",
    "loopback",
    "mount",
    "pivot_root",
    "sethostname",
    "umount",
    "unshare",
]

# linux/sched.h, sys/mount.h, linux/prctl.h, linux/personality.h, linux/sockios.h
NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
NOSUID, NODEV, NOEXEC, BIND, REC, SLAVE, DETACH = 2, 4, 8, 4096, 16384, 1 << 19, 2
READ_ONLY, REMOUNT = 1, 32
_PDEATHSIG, _NO_RANDOMIZE, _KILL = 1, 0x0040000, 9
_SET_SECCOMP, _FILTER = 22, 2
_SET_DUMPABLE = 4
_SIOCSIFFLAGS, _UP_AND_RUNNING = 0x8914, 0x41
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    shown = f"mount {kind or source} on {target}"
    _checked(_libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]), shown)


def umount(target: str) -> None:
    """Let go of a mount, and of all below it."""
    _checked(_libc.umount2(os.fsencode(target), DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    number = _PIVOT_ROOT[os.uname().machine]
    _checked(_libc.syscall(number, os.fsencode(new), os.fsencode(old)), "pivot_root")


def sethostname(name: str) -> None:
    _checked(_libc.sethostname(os.fsencode(name), len(name)), "sethostname")


def die_with_parent() -> None:
    """Be killed when the parent ends. To be called after every change of identity, which forgets it."""
    _checked(_libc.prctl(_PDEATHSIG, _KILL, 0, 0, 0), "prctl")


def end_first() -> None:
    """Have the kernel end this process, and what it starts, before any other where memory is short
    (proc_pid_oom_score_adj(5))."""
    # Its files in /proc belong to it only while it may be looked at.
    _checked(_libc.prctl(_SET_DUMPABLE, 1, 0, 0, 0), "prctl")
    try:
        with open("/proc/self/oom_score_adj", "wb") as f:
            f.write(b"1000")
    except OSError:
        pass  # a kernel without it has no such choice
    finally:
        _checked(_libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def filter_calls(instructions: bytes) -> None:
    """Have the kernel hold this process, and all that it starts, to a filter (seccomp(2)): an array of ``struct
    sock_filter``. Programs that change who runs them still can, as the namespace's root asks for it."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    loaded = ctypes.byref(Program(len(instructions) // 8, instructions))
    _checked(_libc.prctl(_SET_SECCOMP, _FILTER, loaded, 0, 0), "the filter of system calls")


def fix_addresses() -> None:
    """No address randomisation from the next exec on: tables that are seeded with addresses come out the same."""
    _libc.personality(_NO_RANDOMIZE)


def loopback() -> None:
    """Bring up the network namespace's own loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", _UP_AND_RUNNING, b""))
