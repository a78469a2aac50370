"""Bad surroundings: no way to isolate a task, and no space for what is to be written."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.offline import Offline, snapshot, workflow
from ..support.tools import need, need_root

RUN = ["run", "flow.py", "main", "--x", "1"]
_ISOLATED = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'


# -- no user namespaces ----------------------------------------------------------------------------


def test_no_program_to_isolate_with(offline: Offline) -> None:
    offline.locked()
    offline.patch.setattr("flyte_build.submit.sandbox.engines.which", lambda name: None)
    said = offline.refused(11, *RUN)
    assert "error: no way to isolate a task: neither `bwrap` nor `unshare` is installed\n" in said
    assert "hint: install bubblewrap (`apt install bubblewrap`) or util-linux\n" in said
    assert not (offline.store / "artifacts").exists(), "said before anything was downloaded for it"
    assert not (offline.home / "state" / "runs").exists()


def refusing(folder: Path, name: str, words: str) -> str:
    """A program that refuses as the kernel makes the real one refuse."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && echo '{name} 0.8.0' && exit 0\necho '{words}' >&2\nexit 1\n")
    path.chmod(0o755)
    return str(path)


def test_a_kernel_that_refuses_is_quoted(offline: Offline) -> None:
    offline.locked()
    programs = {
        "bwrap": refusing(offline.home, "bwrap", "bwrap: setting up uid map: Permission denied"),
        "unshare": refusing(offline.home, "unshare", "unshare: unshare failed: Operation not permitted"),
    }
    offline.patch.setattr("flyte_build.submit.sandbox.engines.which", programs.get)
    said = offline.refused(11, *RUN)
    assert "error: this machine refuses to isolate a task (bubblewrap and unshare tried)\n" in said
    assert said.count("bubblewrap: bwrap: setting up uid map: Permission denied") == 1
    assert said.count("unshare: unshare: unshare failed: Operation not permitted") == 1
    assert "hint: " in said


@pytest.mark.integration
def test_user_namespaces_switched_off(offline: Offline) -> None:
    """A namespace in which there may be no further one: the real kernel, the real refusal."""
    need("bwrap", "bubblewrap")
    offline.locked()
    command = [need("unshare", "util-linux"), "--user", "--map-root-user", "sh", "-c", _ISOLATED, "sh"]
    done = subprocess.run(
        [*command, sys.executable, "-m", "flyte_build", *RUN], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 11, done.stderr
    assert "error: this machine refuses to isolate a task (bubblewrap and unshare tried)\n" in done.stderr
    assert "hint: user namespaces are switched off: `sudo sysctl -w user.max_user_namespaces=15000`\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (offline.home / "state" / "runs").exists()


# -- no space left ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    need_root("mounting a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run([need("mount"), "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], check=True, timeout=30)
    try:
        yield folder
    finally:
        subprocess.run([need("umount"), "-l", str(folder)], check=True, timeout=30)


def fill(disk: Path) -> Path:
    """Take what is left of the disk."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(1024))
        except OSError:
            return ballast


@pytest.mark.integration
def test_no_space_for_the_store(offline: Offline, small_disk: Path) -> None:
    offline.locked()
    offline.patch.setenv("FLYTE_BUILD_CACHE", str(small_disk))
    for _ in range(2):
        said = offline.refused(9, "build", "flow.py", "-q")
        assert f"error: {small_disk}/" in said
        assert "no space left" in said
        assert "hint: free some space, run `flyte-build store gc`, or set FLYTE_BUILD_CACHE" in said
        assert offline("store", "verify").code == 0, "what is there is whole"
    offline.patch.setenv("FLYTE_BUILD_CACHE", str(offline.store))
    offline.ok("build", "flow.py")
    offline.verified()


@pytest.mark.integration
def test_no_space_for_the_locks(offline: Offline, small_disk: Path) -> None:
    folder = small_disk / "lockfiles"
    offline.ok("lock", "flow.py", "--lockfiles", folder)
    before = snapshot(folder)
    ballast = fill(small_disk)
    offline.write(workflow("low: alpha beta", "top(low): alpha", "third: beta"))
    said = offline.refused(9, "lock", "flow.py", "--lockfiles", folder)
    assert f"error: {folder}: the locks cannot be written: No space left on device\n" in said
    assert "hint: make room, or give a folder that you may write to with --lockfiles\n" in said
    assert snapshot(folder) == before, "not one of them was touched, and nothing else is there"
    ballast.unlink()
    offline.ok("lock", "flow.py", "--lockfiles", folder)
    assert sorted(p.name for p in folder.iterdir()) == ["low.json", "third.json", "top.json"]


@pytest.mark.integration
def test_no_space_for_the_output(offline: Offline, small_disk: Path) -> None:
    offline.locked()
    out = small_disk / "out"
    offline.ok("build", "flow.py", "-e", "low", "-o", f"oci:{out}")
    before = snapshot(out)
    ballast = fill(small_disk)
    said = offline.refused(9, "build", "flow.py", "-q", "-o", f"oci:{out}")
    assert "no space left" in said
    assert "hint: free some space" in said
    assert snapshot(out) == before, "the layout that was there is still there"
    assert sorted(p.name for p in small_disk.iterdir()) == ["ballast", "out"]
    offline.verified()
    ballast.unlink()
    shutil.rmtree(out)


def test_a_file_that_may_not_grow(offline: Offline) -> None:
    """The same without root: a limit on the size of files stands for a disk that is full."""
    offline.locked()

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    done = subprocess.run(
        [sys.executable, "-B", "-m", "flyte_build", "build", "flow.py", "-q"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=limited,
    )
    assert done.returncode == 9, done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    offline.verified()
    offline.ok("build", "flow.py")


def test_an_output_that_holds_something_else(offline: Offline) -> None:
    offline.locked()
    mine = offline.project / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    said = offline.refused(2, "build", "flow.py", "-q", "-o", "oci:mine")
    assert "error: mine: expected an empty folder or an OCI layout, found other files\n" in said
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert [p.name for p in mine.iterdir()] == ["thesis.txt"]


def test_damage_in_the_store_is_found_and_made_good(offline: Offline) -> None:
    offline.locked()
    before = offline.ok("build", "flow.py", "--json").json()
    blob = max((offline.store / "oci" / "blobs" / "sha256").iterdir(), key=lambda p: p.stat().st_size)
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    done = offline("store", "verify")
    assert done.code == 9
    assert blob.name in done.out
    count = len(done.out.splitlines())
    assert f"error: found damage in the store: {count} findings, moved aside or reported above\n" in done.err
    assert "hint: build again: what is missing is made anew\n" in done.err
    done = offline("store", "verify", "--json")
    assert json.loads(done.out)["schema"] == 1
    again = offline.ok("build", "flow.py", "--json").json()
    assert [i["digest"] for i in again["images"]] == [i["digest"] for i in before["images"]]
    offline.verified()
