"""A step of another platform, run by an emulator that its sandbox alone knows of."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from flyte_build.kernel.emulation import emulator, foreign
from flyte_build.kernel.platforms import host_platform
from flyte_build.kernel.reporting import Recorder
from flyte_build.sealing import Below, Step, seal

from ..support.tiny_root import layer_blob
from ..support.tools import lacking

PROGRAM = """
#include <stdio.h>
#include <sys/utsname.h>
/* A shell that writes down what machine it believes to be on, and the words it was started with. */
int main(int count, char **words) {
    struct utsname here;
    FILE *made = fopen("/made", "w");
    if (!made || uname(&here)) return 3;
    return fprintf(made, "%s %s", here.machine, words[count - 1]) < 0 || fclose(made);
}
"""
OTHER = {"linux/amd64": ("linux/arm64", "aarch64"), "linux/arm64": ("linux/amd64", "x86_64")}


@pytest.mark.integration
def test_programs_of_another_platform_run_and_make_the_same_twice(tmp_path: Path) -> None:
    platform, machine = OTHER[host_platform()]
    if emulator(platform) is None:
        lacking("no static program of qemu-user-static on PATH, or a kernel before 6.7")
    known = foreign(platform)
    source, shell = tmp_path / "sh.c", tmp_path / "sh"
    source.write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-musl", "-static", "-O1"]
    subprocess.run([*command, "-o", str(shell), str(source)], check=True, capture_output=True)
    blob = tmp_path / "base.tar.gz"
    member = tarfile.TarInfo("bin/sh")
    member.mode, member.size = 0o755, shell.stat().st_size
    below = Below(blob, layer_blob(blob, [(member, shell.read_bytes())]))
    step = Step("hello", ("hello",), {"PATH": "/bin"}, "/", "none", platform=platform)
    made = seal(step, [below], tmp_path / "work", tmp_path / "log", Recorder())
    assert made.reproducible
    assert list(made.listing) == ["made"]
    assert made.content == len(f"{machine} hello")
    # Nobody else hears of it: the machine runs what it ran before.
    assert foreign(platform) == known
