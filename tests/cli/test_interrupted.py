"""Ctrl-C while a command waits for somebody who says nothing: it leaves at once, says so, and writes nothing."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from flyte_build.cli.interrupts import watch
from flyte_build.kernel.patience import patiently

from ..support.interrupting import command, forked
from ..support.mute import Mute
from ..support.offline import Offline, snapshot
from ..support.registry import RegistryServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="waits for a process by its descriptor")


@dataclass(frozen=True)
class Wait:
    """``words`` of a command line in which HOST stands for the server that holds the first request which ``held`` fits;
    ``whose``: that server is an index, a Debian mirror or a registry, or is asked by nobody else (``own``)."""

    words: str
    whose: Literal["index", "debian", "registry", "own"]
    held: str
    locked: bool = True


WAITS = {
    "lock: Debian's Release": Wait("lock flow.py", "debian", "InRelease", False),
    "lock: uv asks an index": Wait("lock flow.py", "index", "/simple/alpha", False),
    "lock: what wheels say": Wait("lock flow.py", "index", r"\.whl", False),
    "build: where wheels are": Wait("build flow.py", "index", "/simple/"),
    "build: a wheel": Wait("build flow.py", "index", r"\.whl"),
    "build: a Debian package": Wait("build flow.py", "debian", r"\.deb"),
    "plan: a cache": Wait("plan flow.py --cache HOST/cache", "registry", ""),
    "push: what is there": Wait("push flow.py --registry HOST/team", "registry", "HEAD|GET"),
    "push: an upload": Wait("push flow.py --registry HOST/team", "registry", "POST"),
    "verify": Wait("verify flow.py", "index", r"\.whl"),
    "export": Wait("export requirements lockfiles/low.json --wheels wheels -o r.txt", "index", r"\.whl"),
    "venv": Wait("venv lockfiles/low.json", "index", r"\.whl"),
    "outdated": Wait("outdated flow.py", "index", "/simple/"),
    "outdated: advisories": Wait("outdated flow.py --osv http://HOST", "own", ""),
    "tree": Wait("tree flow.py", "index", r"\.whl"),
    "doctor": Wait("doctor flow.py", "index", "/simple/"),
    "a file that waits": Wait("plan waits.py", "own", ""),
}


@pytest.mark.parametrize("name", WAITS)
def test_it_leaves_at_once(offline: Offline, registry: RegistryServer, tmp_path: Path, name: str) -> None:
    wait = WAITS[name]
    if wait.locked:
        offline.locked()
    upstream = {
        "index": offline.index.url, "debian": f"{offline.archive.url}/debian", "registry": f"http://{registry.host}",
        "own": "",
    }[wait.whose]  # fmt: skip
    with Mute(upstream, wait.held) as mute:
        if wait.whose == "index":
            offline.patch.setenv("UV_DEFAULT_INDEX", mute.url)
        elif wait.whose == "debian":
            offline.patch.setenv("FLYTE_BUILD_DEBIAN_MIRROR", mute.url)
        offline.write(f"import urllib.request\nurllib.request.urlopen('http://{mute.host}/')\n", "waits.py")
        before = snapshot(offline.project)
        child = command([word.replace("HOST", mute.host) for word in wait.words.split()], tmp_path / "said")
        mute.held.get(timeout=60)
        left = child.interrupt()
    print(f"{name}: {left.seconds:.3f} s")
    assert left.code == 130, left.said
    assert left.said.splitlines()[-1:] == ["interrupted"], left.said
    assert left.said.count("interrupted") == 1
    assert "Traceback" not in left.said
    assert snapshot(offline.project) == before


@pytest.mark.parametrize("again", [False, True])
def test_what_has_to_be_ended_is_waited_for(tmp_path: Path, again: bool) -> None:
    (ready, readied), (told, tell), (rest, let) = os.pipe(), os.pipe(), os.pipe()

    def work() -> int:
        watch()
        os.dup2(tell, 2)
        with patiently("things are put away"):
            try:
                os.write(readied, b"x")
                threading.Event().wait()
            except KeyboardInterrupt:
                while True:
                    with suppress(KeyboardInterrupt):
                        return os.read(rest, 1)[0]
        return 97

    child = forked(work, tmp_path / "said")
    os.read(ready, 1)
    os.kill(child.pid, signal.SIGINT)
    assert os.read(told, 100) == b"interrupted: things are put away; once more leaves at once\n"
    if again:
        assert child.interrupt().code == 130
        assert os.read(told, 100) == b"interrupted\n"
    else:
        os.write(let, b"\x07")
        assert child.left().code == 7
    for handle in (ready, readied, told, tell, rest, let):
        os.close(handle)


def test_a_thread_that_never_ends_keeps_nobody(tmp_path: Path) -> None:
    ready, readied = os.pipe()

    def work() -> int:
        watch()
        try:
            threading.Thread(target=threading.Event().wait).start()
            os.write(readied, b"x")
            threading.Event().wait()
        except KeyboardInterrupt:
            return 97
        return 96

    child = forked(work, tmp_path / "said")
    os.read(ready, 1)
    left = child.interrupt()
    assert (left.code, left.said) == (130, "interrupted\n")
    os.close(ready)
    os.close(readied)


def test_who_ignores_interrupts_is_not_watched() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        watch()
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.signal(signal.SIGINT, before)
