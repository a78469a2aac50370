"""Which programs this machine runs, and what the kernel is told so that a sandbox runs others."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from flyte_build.kernel import emulation
from flyte_build.kernel.emulation import emulator, foreign, registration

ARM64 = "linux/arm64"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, on an x86-64 machine of Linux 6.7 whose kernel was told of no emulator."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(emulation, "host_platform", lambda: "linux/amd64")
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release="6.7.0-rc1+deb13-amd64"))
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    return tmp_path


def program(file: Path, *kinds: int) -> None:
    """An ELF program with segments of these kinds (of elf(5)'s p_type)."""
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 32, 64)
    struct.pack_into("<HH", head, 54, 56, len(kinds))
    file.write_bytes(bytes(head) + b"".join(struct.pack("<I", kind) + bytes(52) for kind in kinds))
    file.chmod(0o755)


def test_a_static_program_is_an_emulator(path: Path) -> None:
    assert emulator(ARM64) is None
    assert foreign(ARM64, lent=True) == "linux/amd64"
    program(path / "qemu-aarch64", 1, 1, 4)
    assert emulator(ARM64) == str(path / "qemu-aarch64")
    assert foreign(ARM64, lent=True) is None
    # Whoever has no sandbox to lend it to.
    assert foreign(ARM64) == "linux/amd64"
    program(path / "qemu-aarch64-static", 1)
    assert emulator(ARM64) == str(path / "qemu-aarch64-static")
    assert emulator("linux/amd64") is None


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01" + bytes(80), b"\x7fELF\x02"])
def test_a_script_or_a_stump_is_none(path: Path, data: bytes) -> None:
    (path / "qemu-aarch64-static").write_bytes(data)
    (path / "qemu-aarch64-static").chmod(0o755)
    assert emulator(ARM64) is None


def test_one_that_needs_libraries_is_none(path: Path) -> None:
    """In the root of another platform there are none for it."""
    program(path / "qemu-aarch64-static", 1, 3, 1)
    assert emulator(ARM64) is None


def test_an_older_kernel_has_none_of_a_namespace(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path / "qemu-aarch64-static", 1)
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release="6.6.13-cloud"))
    assert emulator(ARM64) is None


def test_what_the_kernel_is_told() -> None:
    """Byte for byte what QEMU's own script registers (qemu-binfmt-conf.sh), written as the kernel's docs have it."""
    assert registration(ARM64, "/usr/bin/qemu-aarch64-static") == (
        r":aarch64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
        r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
        ":/usr/bin/qemu-aarch64-static:F"
    )
