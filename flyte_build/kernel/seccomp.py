"""The system calls that a task may not make, as data, and the filter that the kernel runs for it (seccomp(2)).

A sandbox has no capability outside its namespaces; what is refused here is what remains interesting without one: other
processes' memory, keyrings, programs in the kernel, namespaces of its own (and the mounts that come with them),
performance counters, io_uring, page faults handled by oneself, the hypervisor's sockets. It is Docker's default in
spirit, as a list of what is refused and not of what is allowed: a library that asks for something odd but harmless
works. Refused calls fail with EPERM; calls newer than this list, clone3 (whose flags no filter can see) and calls of
other architectures with ENOSYS, which the C library answers with the older call. Nothing is run here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from .values import dataclass

__all__ = ["DENIED", "NESTING", "NUMBERS", "Condition", "descriptor", "program"]

# linux/audit.h: what seccomp_data.arch says for calls of the machine's own kind.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NEWEST = 466  # removexattrat, Linux 6.13; what came later is not known here

# linux/sched.h: CLONE_NEWTIME is not among clone's flags, which has the exit signal there.
_CLONE_NEW = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000


@dataclass(frozen=True, slots=True)
class Condition:
    """Only where the argument with this ``index`` (its low 32 bits) is one of ``values``, or has one of ``bits``."""

    index: int
    values: tuple[int, ...] = ()
    bits: int = 0


ALWAYS = None
DENIED: Mapping[str, Condition | None] = MappingProxyType({
    # processes of others
    "ptrace": ALWAYS, "process_vm_readv": ALWAYS, "process_vm_writev": ALWAYS, "pidfd_getfd": ALWAYS,
    # keyrings, which no namespace parts
    "add_key": ALWAYS, "request_key": ALWAYS, "keyctl": ALWAYS,
    # programs and modules in the kernel
    "bpf": ALWAYS, "perf_event_open": ALWAYS, "userfaultfd": ALWAYS, "lookup_dcookie": ALWAYS,
    "io_uring_setup": ALWAYS, "io_uring_enter": ALWAYS, "io_uring_register": ALWAYS,
    "create_module": ALWAYS, "init_module": ALWAYS, "finit_module": ALWAYS, "delete_module": ALWAYS,
    "query_module": ALWAYS, "get_kernel_syms": ALWAYS, "kexec_load": ALWAYS, "kexec_file_load": ALWAYS,
    # namespaces
    "unshare": ALWAYS, "setns": ALWAYS, "clone": Condition(0, bits=_CLONE_NEW),
    # mounts
    "mount": ALWAYS, "umount2": ALWAYS, "pivot_root": ALWAYS, "move_mount": ALWAYS, "open_tree": ALWAYS,
    "fsopen": ALWAYS, "fsconfig": ALWAYS, "fsmount": ALWAYS, "fspick": ALWAYS, "mount_setattr": ALWAYS,
    "open_by_handle_at": ALWAYS, "quotactl": ALWAYS, "quotactl_fd": ALWAYS, "nfsservctl": ALWAYS,
    # the machine
    "acct": ALWAYS, "reboot": ALWAYS, "swapon": ALWAYS, "swapoff": ALWAYS, "syslog": ALWAYS, "uselib": ALWAYS,
    "settimeofday": ALWAYS, "clock_settime": ALWAYS, "iopl": ALWAYS, "ioperm": ALWAYS, "_sysctl": ALWAYS,
    # words put into a terminal: TIOCSTI, TIOCLINUX
    "ioctl": Condition(1, values=(0x5412, 0x541C)),
    # the hypervisor's sockets (AF_VSOCK), which no namespace parts
    "socket": Condition(0, values=(40,)),
})  # fmt: skip

# What a sandbox is made with inside of one: namespaces, and mounts in them.
NESTING = frozenset({"unshare", "setns", "mount", "umount2", "pivot_root"})

# asm/unistd_64.h and asm-generic/unistd.h; a call that an architecture lacks is not in its table.
NUMBERS: Mapping[str, Mapping[str, int]] = MappingProxyType({
    "x86_64": MappingProxyType({
        "_sysctl": 156, "acct": 163, "add_key": 248, "bpf": 321, "clock_settime": 227, "clone": 56, "clone3": 435,
        "create_module": 174, "delete_module": 176, "finit_module": 313, "fsconfig": 431, "fsmount": 432,
        "fsopen": 430, "fspick": 433, "get_kernel_syms": 177, "init_module": 175, "io_uring_enter": 426,
        "io_uring_register": 427, "io_uring_setup": 425, "ioctl": 16, "ioperm": 173, "iopl": 172,
        "kexec_file_load": 320, "kexec_load": 246, "keyctl": 250, "lookup_dcookie": 212, "mount": 165,
        "mount_setattr": 442, "move_mount": 429, "nfsservctl": 180, "open_by_handle_at": 304, "open_tree": 428,
        "perf_event_open": 298, "pidfd_getfd": 438, "pivot_root": 155, "process_vm_readv": 310,
        "process_vm_writev": 311, "ptrace": 101, "query_module": 178, "quotactl": 179, "quotactl_fd": 443,
        "reboot": 169, "request_key": 249, "setns": 308, "settimeofday": 164, "socket": 41, "swapoff": 168,
        "swapon": 167, "syslog": 103, "umount2": 166, "unshare": 272, "uselib": 134, "userfaultfd": 323,
    }),
    "aarch64": MappingProxyType({
        "acct": 89, "add_key": 217, "bpf": 280, "clock_settime": 112, "clone": 220, "clone3": 435,
        "delete_module": 106, "finit_module": 273, "fsconfig": 431, "fsmount": 432, "fsopen": 430, "fspick": 433,
        "init_module": 105, "io_uring_enter": 426, "io_uring_register": 427, "io_uring_setup": 425, "ioctl": 29,
        "kexec_file_load": 294, "kexec_load": 104, "keyctl": 219, "lookup_dcookie": 18, "mount": 40,
        "mount_setattr": 442, "move_mount": 429, "nfsservctl": 42, "open_by_handle_at": 265, "open_tree": 428,
        "perf_event_open": 241, "pidfd_getfd": 438, "pivot_root": 41, "process_vm_readv": 270,
        "process_vm_writev": 271, "ptrace": 117, "quotactl": 60, "quotactl_fd": 443, "reboot": 142,
        "request_key": 218, "setns": 268, "settimeofday": 170, "socket": 198, "swapoff": 225, "swapon": 224,
        "syslog": 116, "umount2": 39, "unshare": 97, "userfaultfd": 282,
    }),
})  # fmt: skip

# linux/bpf_common.h and linux/seccomp.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data


def _instruction(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    """One ``struct sock_filter`` in the machine's own order of bytes."""
    return struct.pack("=HBBI", code, yes, no, value)


def _refused(number: int) -> bytes:
    return _instruction(_RETURN, _ERRNO | number)


def _deny(number: int, condition: Condition | None) -> bytes:
    if condition is None:
        return _instruction(_EQUAL, number, 0, 1) + _refused(errno.EPERM)
    tests = [(_EQUAL, value) for value in condition.values] + ([(_ANY_BIT, condition.bits)] if condition.bits else [])
    inner = _instruction(_LOAD, _ARGUMENTS + 8 * condition.index)
    for code, value in tests:
        inner += _instruction(code, value, 0, 1) + _refused(errno.EPERM)
    inner += _instruction(_RETURN, _ALLOW)
    return _instruction(_EQUAL, number, 0, len(inner) // 8) + inner


def program(machine: str, allowed: frozenset[str] = frozenset()) -> bytes | None:
    """The filter for ``machine`` (``uname -m``): an array of ``struct sock_filter``. ``None``: it is not known here.

    It lets the calls that ``allowed`` names through.
    """
    if machine not in NUMBERS:
        return None
    numbers = NUMBERS[machine]
    out = _instruction(_LOAD, _ARCHITECTURE)
    out += _instruction(_EQUAL, _ARCHITECTURES[machine], 1, 0) + _refused(errno.ENOSYS)
    out += _instruction(_LOAD, _NUMBER)
    # Above the newest there is x32, too, and -1, which a tracer gives a call that shall not be made.
    out += _instruction(_AT_LEAST, _NEWEST + 1, 0, 1) + _refused(errno.ENOSYS)
    out += _instruction(_EQUAL, numbers["clone3"], 0, 1) + _refused(errno.ENOSYS)
    for name, condition in DENIED.items():
        if name in numbers and name not in allowed:
            out += _deny(numbers[name], condition)
    return out + _instruction(_RETURN, _ALLOW)


@contextlib.contextmanager
def descriptor(filtered: bool, *, nests: bool = False) -> Iterator[int | None]:
    """An open file with the filter for this machine, for a process to inherit; ``None`` where there shall be none.

    ``nests``: those it is for make sandboxes, whose own filter is the whole one.
    """
    found = program(os.uname().machine, NESTING if nests else frozenset()) if filtered else None
    if found is None:
        yield None
        return
    handle = os.memfd_create("flyte-build-seccomp")
    try:
        os.write(handle, found)
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)
