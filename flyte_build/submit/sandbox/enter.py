"""The second half of the `unshare` engine: builds the mounts, drops every privilege, becomes process 1.

Runs with the host's Python, isolated (``-I -S``), inside namespaces that unshare(1) has just made, with the
capabilities it kept there. Takes one argument, JSON: ``root``, ``masked`` and ``read_only`` of /proc, ``tmpfs``
[[target, size, inodes]], ``mounts`` [[source, target, writable]], ``late`` (tmpfs upon them), ``loopback`` (bring it
up), ``seccomp`` (an inherited file with the filter of system calls, or null), ``command``. Uses mount(2) and
pivot_root(2) directly because mount(8) is not told apart by its messages and is absent on some hosts. A warm worker
calls ``own_namespaces`` and its forks ``enter``, with the Python of its image (3.8 or later).
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from typing import Any

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_NOATIME, MS_NODIRATIME = 1, 2, 4, 8, 32, 1024, 2048
MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 4096, 16384, 1 << 18, 1 << 21
MNT_DETACH = 2
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_PDEATHSIG = 22, 2, 1
NEWUSER, NEWPID = 0x10000000, 0x20000000  # linux/sched.h
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# Flags the outer namespace has set are locked: a remount in a user namespace must repeat them.
LOCKED = (
    (os.ST_NOSUID, MS_NOSUID),
    (os.ST_NODEV, MS_NODEV),
    (os.ST_NOEXEC, MS_NOEXEC),
    (os.ST_NOATIME, MS_NOATIME),
    (os.ST_NODIRATIME, MS_NODIRATIME),
    (os.ST_RELATIME, MS_RELATIME),
)

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if s is None else os.fsencode(s) for s in (source, target, kind, data)]
    checked(
        libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), f"mount {source} on {target}"
    )


def bind(source: str, target: str, *, writable: bool) -> None:
    mount(source, target, None, MS_BIND | MS_REC)
    if not writable:
        have = os.statvfs(target).f_flag
        keep = sum(flag for seen, flag in LOCKED if have & seen)
        mount("none", target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | keep)


def place(target: str, *, folder: bool) -> None:
    """Make the mount point where it is missing, which only happens on a tmpfs of ours."""
    if os.path.lexists(target):
        return
    if folder:
        os.makedirs(target, 0o755)
    else:
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def in_memory(root: str, target: str, size: int, inodes: int) -> None:
    place(root + target, folder=True)
    options = f"mode=755,size={size},nr_inodes={inodes}"
    mount("tmpfs", root + target, "tmpfs", MS_NOSUID | MS_NODEV, options)


def cover(proc: str, masked: list[str], read_only: list[str]) -> None:
    """Let nobody see, or change, what /proc has of the whole machine."""
    for name in masked:
        path = f"{proc}/{name}"
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=4k")
        elif os.path.exists(path):
            mount("/dev/null", path, None, MS_BIND)
    for name in read_only:
        if os.path.exists(f"{proc}/{name}"):
            bind(f"{proc}/{name}", f"{proc}/{name}", writable=False)


def devices(dev: str) -> None:
    mount("tmpfs", dev, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k,nr_inodes=1k")
    for name in DEVICES:
        if not os.path.exists(f"/dev/{name}"):
            continue
        place(f"{dev}/{name}", folder=False)
        mount(f"/dev/{name}", f"{dev}/{name}", None, MS_BIND)
    for name in ("shm", "pts"):
        os.mkdir(f"{dev}/{name}", 0o755)
    mount("devpts", f"{dev}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    for name, link in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        os.symlink(link, f"{dev}/{name}")


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sH22x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(s, SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | IFF_UP))


def pivot(root: str) -> None:
    os.chdir(root)
    number = SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(0, f"pivot_root is not known on {os.uname().machine}")
    checked(libc.syscall(ctypes.c_long(number), b".", b"."), "pivot_root")
    checked(libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


def filter_calls(file: int) -> None:
    """Load the filter, an array of struct sock_filter (seccomp(2)); from here on it is everyone's below."""
    with os.fdopen(file, "rb") as f:
        load(f.read())


def load(instructions: bytes) -> None:
    """See :func:`filter_calls`."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    loaded = ctypes.byref(Program(len(instructions) // 8, instructions))
    checked(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, loaded, 0, 0), "the filter of system calls")


def enter(spec: Any) -> None:
    """Build the mounts of ``spec`` and make them all there is. What is gained here or later, no program gains again."""
    root = spec["root"]
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    staging = root
    if root == "/":
        # The root of a mount namespace cannot be bound over itself and pivoted to.
        staging = "/dev/shm"
    bind(root, staging, writable=False)
    root = staging
    # Later mounts must land on the bind, not below it.
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    cover(f"{root}/proc", spec["masked"], spec["read_only"])
    devices(f"{root}/dev")
    for tmpfs in spec["tmpfs"]:
        in_memory(root, *tmpfs)
    for source, target, writable in spec["mounts"]:
        place(root + target, folder=os.path.isdir(source))
        bind(source, root + target, writable=writable)
    for tmpfs in spec["late"]:
        in_memory(root, *tmpfs)
    if spec["loopback"]:
        loopback_up()
    pivot(root)
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def exit_code(status: int) -> int:
    """As a shell has it, of what ``waitpid`` told."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def own_namespaces() -> int:
    """Go on as process 1 of a PID namespace whose owner is a user namespace of this process's own; its descriptor.

    The process that was called waits for the one that returns, and ends as it does.
    """
    uid, gid = os.getuid(), os.getgid()
    checked(libc.unshare(NEWUSER | NEWPID), "namespaces of its own")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as f:
            f.write(text)
    pid = os.fork()
    if pid:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the other ends as it is asked to, and is collected here
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os._exit(exit_code(os.waitpid(pid, 0)[1]))
    checked(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "to end with the one that waits")
    return os.open("/proc/self/ns/pid", os.O_RDONLY)


def main() -> None:
    spec = json.loads(sys.argv[1])
    enter(spec)
    checked(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "dropping capabilities")
    if spec["seccomp"] is not None:
        filter_calls(spec["seccomp"])
    command = spec["command"]
    os.execv(command[0], command)


if __name__ == "__main__":
    try:
        main()
    except OSError as e:
        sys.stderr.write(f"flyte-build: sandbox: {e.strerror or e}\n")
        sys.exit(125)
