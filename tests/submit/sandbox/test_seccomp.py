"""The filter of system calls: run here by an interpreter of our own, for machines other than this one, too."""

from __future__ import annotations

import errno
import os
import re
import struct
from pathlib import Path

import pytest

from flyte_build.kernel.seccomp import DENIED, NESTING, NUMBERS, descriptor, program
from tests.support.tools import lacking

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Calls that every program makes: read, openat, mmap, futex, execve, exit_group, sched_setaffinity.
COMMON = {"x86_64": (0, 257, 9, 202, 59, 231, 203), "aarch64": (63, 56, 222, 98, 221, 94, 122)}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def decide(filter: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What the kernel would answer: 0 for allowed, else an errno (struct seccomp_data, linux/filter.h)."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *(*arguments, *[0] * (6 - len(arguments))))
    instructions = list(struct.iter_unpack("=HBBI", filter))
    at = value = 0
    while True:
        code, yes, no, k = instructions[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, k)
        elif code == 0x06:
            assert k & 0xFFFF0000 in (0x7FFF0000, 0x00050000)
            return k & 0xFFFF
        else:
            at += yes if {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}[code] else no


def filter_of(machine: str) -> bytes:
    found = program(machine)
    assert found is not None
    return found


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_is_refused_and_what_is_not(machine: str) -> None:
    made, own, numbers = filter_of(machine), ARCHITECTURES[machine], NUMBERS[machine]
    refused = {name for name in numbers if decide(made, own, numbers[name]) == errno.EPERM}
    assert refused == {name for name, condition in DENIED.items() if condition is None and name in numbers}
    assert {decide(made, own, number) for number in COMMON[machine]} == {0}
    assert decide(made, own, numbers["clone3"]) == errno.ENOSYS

    threads = 0x003D0F00  # what glibc's pthread_create asks clone for
    assert decide(made, own, numbers["clone"], threads) == 0
    for one in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert decide(made, own, numbers["clone"], threads | one) == errno.EPERM
    assert decide(made, own, numbers["ioctl"], 0, 0x5401) == 0
    # The kernel looks at 32 bits of a request only, and so does the filter.
    assert {decide(made, own, numbers["ioctl"], 0, r) for r in (0x5412, 0x541C, 1 << 32 | 0x5412)} == {errno.EPERM}
    assert [decide(made, own, numbers["socket"], family) for family in (1, 2, 10, 40)] == [0, 0, 0, errno.EPERM]

    assert decide(made, own, 466) == 0
    # Tomorrow's, x32's, and none at all.
    assert {decide(made, own, number) for number in (467, 0x40000000, 0x40000000 | 101, -1)} == {errno.ENOSYS}
    others = [0x40000003, 0x40000028, *(set(ARCHITECTURES.values()) - {own})]
    assert {decide(made, other, number) for other in others for number in COMMON[machine]} == {errno.ENOSYS}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_where_sandboxes_are_made_inside_their_calls_alone_are_let_through(machine: str) -> None:
    whole, nesting = filter_of(machine), program(machine, NESTING)
    assert nesting is not None
    own, numbers = ARCHITECTURES[machine], NUMBERS[machine]
    differs = {name for name in numbers if decide(whole, own, numbers[name]) != decide(nesting, own, numbers[name])}
    assert differs == NESTING == {"unshare", "setns", "mount", "umount2", "pivot_root"}
    assert {decide(nesting, own, numbers[name]) for name in NESTING} == {0}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine].exists():
        lacking(f"the kernel's headers ({HEADERS[machine]})")
    said = re.findall(r"^#define\s+__NR(?:3264)?_(\w+)\s+(\d+)$", HEADERS[machine].read_text(), re.M)
    known = {name: int(number) for name, number in said}
    assert {name: known.get(name) for name in NUMBERS[machine]} == dict(NUMBERS[machine])
    missing = DENIED.keys() - NUMBERS[machine].keys()
    assert [name for name in missing if name in known] == [], "an architecture has more of what is denied"


def test_a_machine_that_is_not_known_has_no_filter() -> None:
    assert program("riscv64") is None
    with descriptor(False) as none:
        assert none is None


def test_the_filter_is_handed_on_whole_and_closed() -> None:
    if program(os.uname().machine) is None:
        lacking(f"system calls of {os.uname().machine} are not known")
    with descriptor(True) as handle:
        assert handle is not None
        assert os.read(handle, 1 << 16) == program(os.uname().machine)
    with pytest.raises(OSError):
        os.fstat(handle)
