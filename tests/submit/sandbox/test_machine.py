"""How little of the whole machine a task reaches: its settings, its kernel, its memory and its processes."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from flyte_build.kernel.cgroups import Cgroups
from flyte_build.kernel.seccomp import NUMBERS
from flyte_build.submit.action import ImageRoot
from flyte_build.submit.sandbox.spec import MASKED, Engine
from tests.support.sandboxes import box_of, run
from tests.support.tools import lacking

pytestmark = pytest.mark.integration


OF_THE_MACHINE = """
import json, os
seen = {}
for name in MASKED:
    path = f"/proc/{name}"
    if os.path.isdir(path):
        seen[name] = os.listdir(path)
    elif os.path.exists(path):
        with open(path, "rb") as f:
            seen[name] = f.read(1).decode()
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness", "/proc/sysrq-trigger"):
    try:
        with open(path, "r+b", buffering=0):
            seen[path] = "writable"
    except OSError as e:
        seen[path] = e.strerror
print(json.dumps(seen))
"""


def test_nothing_of_the_whole_machine_is_seen_or_changed(entered: Engine, image: ImageRoot, tmp_path: Path) -> None:
    """As root, too: who is root outside may write to /proc/sys without any capability."""
    code = OF_THE_MACHINE.replace("MASKED", repr(MASKED))
    assert run(entered, box_of(image), code, tmp_path / "log") == 0
    seen = json.loads((tmp_path / "log").read_text())
    assert seen.keys() >= {"keys", "interrupts"}  # every Linux has these
    assert [name for name in MASKED if seen.get(name)] == []
    refused = {path: said for path, said in seen.items() if path.startswith("/")}
    assert len(refused) == 3
    assert set(refused.values()) <= {"Read-only file system", "Permission denied", "No such file or directory"}


CALLS = """
import ctypes, errno, json, os, subprocess, threading
libc = ctypes.CDLL(None, use_errno=True)
def said(number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) >= 0:
        return "done"
    return errno.errorcode[ctypes.get_errno()]
numbers = NUMBERS
seen = {name: said(numbers[name], 0, 0, 0, 0, 0) for name in ("bpf", "mount", "perf_event_open", "clone3")}
seen["a call of tomorrow"] = said(9999)
seen["a new namespace"] = said(numbers["unshare"], 0x10000000)
if seen["a new namespace"] != "done":
    seen["a process in one"] = said(numbers["clone"], 0x10000000 | 17, 0, 0, 0, 0)
    seen["to be traced"] = said(numbers["ptrace"], 0, 0, 0, 0)
    seen["this session's keyring"] = said(numbers["keyctl"], 0, -3, 0)
print(json.dumps(seen), flush=True)
if seen["a new namespace"] != "done":
    started = threading.Thread(target=lambda: print("thread", flush=True))
    started.start()
    started.join()
    print(subprocess.run(["/bin/sh", "-c", "echo process"], capture_output=True, text=True).stdout, end="")
"""


@pytest.mark.parametrize("filtered", [True, False])
def test_system_calls_are_filtered(entered: Engine, image: ImageRoot, tmp_path: Path, filtered: bool) -> None:
    numbers = NUMBERS.get(os.uname().machine)
    if numbers is None:
        lacking(f"system calls of {os.uname().machine} are not known")
    box = dataclasses.replace(box_of(image), filtered=filtered)
    assert run(entered, box, CALLS.replace("NUMBERS", repr(dict(numbers))), tmp_path / "log") == 0
    first, *rest = (tmp_path / "log").read_text().splitlines()
    seen = json.loads(first)
    assert seen.pop("a call of tomorrow") == "ENOSYS"
    if filtered:
        assert seen.pop("clone3") == "ENOSYS"
        assert len(seen) == 7
        assert set(seen.values()) == {"EPERM"}, seen
        assert rest == ["thread", "process"]
    else:
        assert seen["clone3"] == "EINVAL"
        assert seen["a new namespace"] == "done"


def test_a_memory_limit_kills_and_is_counted(entered: Engine, image: ImageRoot, tmp_path: Path) -> None:
    cgroups = Cgroups.detect()
    if cgroups.memory is None or cgroups.cpu is None:
        lacking("this user may not make control groups for memory and processors")
    group = cgroups.create("limits", memory=64 << 20, cpu=0.5)
    try:
        assert run(entered, box_of(image), "len(bytearray(200 << 20))", tmp_path / "log", join=group.join) == 137
        assert group.oom_kills() >= 1
        used = "import time; t = time.monotonic()\nwhile time.monotonic() - t < 1: pass\nprint(time.process_time())"
        assert run(entered, box_of(image), used, tmp_path / "cpu", join=group.join) == 0
        assert float((tmp_path / "cpu").read_text()) < 0.8
    finally:
        group.remove()
    assert not any(folder.exists() for folder in group.folders)


def test_a_fork_bomb_fizzles_out_and_is_counted(entered: Engine, image: ImageRoot, tmp_path: Path) -> None:
    cgroups = Cgroups.detect()
    if cgroups.pids is None:
        lacking("this user may not make control groups for processes")
    bomb = """
import os, time
made = 0
try:
    while True:
        if not os.fork():
            time.sleep(600)
        made += 1
except BlockingIOError:
    print(made, flush=True)
"""
    group = cgroups.create("bomb", memory=None, cpu=None, pids=50)
    try:
        assert run(entered, box_of(image), bomb, tmp_path / "log", join=group.join) == 0
        assert 20 < int((tmp_path / "log").read_text()) < 50
        assert group.refused_forks() >= 1
    finally:
        group.remove()
    assert not any(folder.exists() for folder in group.folders), "its sleeping children are gone with it"
