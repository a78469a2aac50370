"""Places that cannot be written, for every command that writes where somebody says: exit code 9, words about that
place, and nothing half-written there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..support.offline import Offline, snapshot
from ..support.runs import Call, make_run
from ..support.tools import need, need_root

LOCK = "lockfiles/low.json"
OUTPUTS = {
    "oci": ["build", "flow.py", "-q", "-e", "low", "-o", "oci:PLACE/out"],
    "oci-archive": ["build", "flow.py", "-q", "-e", "low", "-o", "oci-archive:PLACE/out.tar"],
    "bundle": ["bundle", "flow.py", "-q", "-e", "low", "-o", "PLACE/low.fbundle"],
    "requirements": ["export", "requirements", LOCK, "-o", "PLACE/r.txt"],
    "wheels": ["export", "requirements", LOCK, "--wheels", "PLACE/wheels"],
    "sbom": ["sbom", LOCK, "-o", "PLACE/low.cdx.json"],
    "page": ["page", "-o", "PLACE/run.html"],
    "graph": ["plan", "flow.py", "--graph", "PLACE/plan.svg"],
    "venv": ["venv", LOCK, "--python", sys.executable, "-o", "PLACE/venv"],
}
LOCKS = ["lock", "flow.py", "--lockfiles", "PLACE/locks"]


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run([need("mount"), "-t", "tmpfs", "-o", options, "none", str(folder)], check=True, timeout=30)
    try:
        yield folder
    finally:
        subprocess.run([need("umount"), "-l", str(folder)], check=True, timeout=30)


def filled(folder: Path) -> Path:
    """Nothing more goes into the file system of ``folder``."""
    with (folder / "ballast").open("wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            return folder


def refused(offline: Offline, place: Path, words: str) -> None:
    """Everything that can be written says ``words`` of ``place``, and the place is as it was."""
    before = snapshot(place) if place.is_dir() and place.parts[1] != "proc" else None
    for name, command in (OUTPUTS | {"locks": LOCKS}).items():
        said = offline.refused(9, *[word.replace("PLACE", str(place)) for word in command])
        assert f"error: {place}/" in said, (name, said)
        assert words in said.split("hint:")[0], (name, said)
        hint = " ".join(said.split("hint: ")[1].split())
        if name == "locks":
            assert "with --lockfiles" in hint, said
        else:
            assert hint in (
                "name a place that you may write to",
                "free some space there, or name a place on another disk",
            ), (name, said)
    if before is not None:
        assert snapshot(place) == before
    offline.patch.setenv("FLYTE_BUILD_CACHE", str(place / "cache"))
    said = offline.refused(9, "build", "flow.py", "-q", "-e", "low")
    assert f"error: {place}/cache" in said
    assert "set FLYTE_BUILD_CACHE to a folder" in " ".join(said.split()), said
    offline.patch.setenv("FLYTE_BUILD_CACHE", str(offline.store))


@pytest.fixture
def ready(offline: Offline) -> Offline:
    offline.locked()
    offline.ok("build", "flow.py", "-q")
    make_run(offline.home / "state" / "runs", [Call("a0", task="env.main", log="hello")])
    return offline


def test_places_that_take_nothing(ready: Offline) -> None:
    (ready.project / "mine.txt").write_text("mine")
    refused(ready, Path("/proc/flyte-build"), "nothing can be made in /proc")
    for command in OUTPUTS.values():
        said = ready.refused(9, *[word.replace("PLACE", "mine.txt") for word in command])
        assert "mine.txt is no folder\n" in said
    assert (ready.project / "mine.txt").read_text() == "mine"


@pytest.mark.integration
def test_disks_that_take_nothing(ready: Offline, tmp_path: Path) -> None:
    need_root("mounting small file systems")
    with mounted(tmp_path / "full", "size=1m") as place:
        refused(ready, filled(place), "o space left")
    with mounted(tmp_path / "read-only", "ro") as place:
        refused(ready, place, "Read-only file system")
    with mounted(tmp_path / "inodes", "nr_inodes=1") as place:
        refused(ready, place, "o space left")
