"""Whose programs this machine runs: its own platform's, and those that it has an emulator for. Runs nothing.

Two kinds of emulators: one that somebody has told the kernel of (binfmt_misc), and a static program of QEMU's user mode
on PATH, which a sandbox can tell the kernel of for itself (Linux 6.7: binfmt_misc of a user namespace).
"""

from __future__ import annotations

import os
import re
import shutil
import struct
from contextlib import suppress
from pathlib import Path

from .platforms import host_platform

__all__ = ["emulator", "foreign", "registration"]

_MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
# Of ELF's e_machine.
_NUMBERS = {"linux/amd64": 62, "linux/arm64": 183}
_OF_NAMESPACES = (6, 7)
_INTERPRETER = 3


def foreign(platform: str, *, lent: bool = False) -> str | None:
    """This machine's platform, where it does not run the programs of ``platform``; ``lent``: in a sandbox that may be
    lent an :func:`emulator`."""
    here = host_platform()
    if platform == here:
        return None
    # An emulator that was opened when it was registered (flag F) works in any root (binfmt_misc of the kernel's docs).
    for entry in Path("/proc/sys/fs/binfmt_misc").glob(f"*{_MACHINES[platform]}*"):
        with suppress(OSError):
            text = entry.read_text(encoding="ascii", errors="replace")
            if text.startswith("enabled") and re.search(r"^flags:.*F", text, re.MULTILINE):
                return None
    return None if lent and emulator(platform) is not None else here


def emulator(platform: str) -> str | None:
    """The path of a static program on PATH that runs the programs of ``platform``, where this machine does not and a
    user namespace can have a binfmt_misc of its own."""
    if platform == host_platform() or _release() < _OF_NAMESPACES:
        return None
    # Debian's names: of qemu-user-static, and of qemu-user from trixie on.
    for name in (f"qemu-{_MACHINES[platform]}-static", f"qemu-{_MACHINES[platform]}"):
        found = shutil.which(name)
        if found is not None and _static(found):
            return os.path.abspath(found)
    return None


def registration(platform: str, program: str) -> str:
    """What binfmt_misc is told, to have ``program`` run those of ``platform``: opened now, so that no root needs it."""
    machine = _NUMBERS[platform]
    magic = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, machine)
    # Any ABI version, and shared objects (type 3) as well as programs (2).
    mask = b"\xff" * 7 + b"\0" + b"\xff" * 8 + b"\xfe\xff\xff\xff"
    written = ("".join(f"\\x{byte:02x}" for byte in data) for data in (magic, mask))
    return f":{_MACHINES[platform]}:M::{':'.join(written)}:{program}:F"


def _release() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


def _static(path: str) -> bool:
    """Whether the program asks for no other one to start it, which a root of another platform would not have."""
    with suppress(OSError, struct.error), open(path, "rb") as f:
        head = f.read(64)
        if head[:5] == b"\x7fELF\x02":
            (start,) = struct.unpack_from("<Q", head, 32)
            size, count = struct.unpack_from("<HH", head, 54)
            f.seek(start)
            rows = f.read(size * count)
            return all(struct.unpack_from("<I", rows, size * n)[0] != _INTERPRETER for n in range(count))
    return False
