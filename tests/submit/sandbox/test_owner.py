"""Whose the processes of root's sandboxes are: nobody's who has anything on this machine."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_build.submit.action import ImageRoot
from flyte_build.submit.sandbox import engines, process
from flyte_build.submit.sandbox.entrance import Entrance
from flyte_build.submit.sandbox.spec import Mount
from tests.support.sandboxes import box_of, run
from tests.support.tools import lacking, need, need_root

pytestmark = pytest.mark.integration


@pytest.fixture
def owned(engine: Entrance) -> Entrance:
    need_root("giving processes to somebody else")
    if engine.owner is None:
        lacking(f"idmapped mounts: {engine.said}")
    return engine


def below(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(p for child in children for p in below(int(child)))]


def test_no_process_of_it_is_roots(owned: Entrance, image: ImageRoot) -> None:
    code = "print('up', flush=True); import time; time.sleep(600)"
    with engines.popen(owned, box_of(image), stdout=subprocess.PIPE, stderr=2) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps({"argv": [image.python, "-c", code], "env": {}, "cwd": "/"}).encode() + b"\n")
        assert child.stdout.readline() == b"up\n"
        found = {}
        for pid in below(child.pid):
            lines = dict(
                line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "\t" in line
            )
            found[pid] = (lines["Uid"].split(), lines["Gid"].split(), lines["Groups"].split())
        child.stdin.write(b"t")
        child.wait(60)
    assert len(found) >= 3, "the engine, process 1 and the task"
    mine = [str(owned.owner)] * 4
    assert owned.owner != 0
    assert set(map(str, found.values())) == {str((mine, mine, []))}


FILES = """
import json, os, sys
def says(f):
    try:
        return f()
    except OSError as e:
        return e.strerror
own = "/home/flyte"
os.mkdir(f"{own}/folder", 0o700)
open(f"{own}/folder/made", "w").write("by the task")
os.chmod(f"{own}/folder/made", 0o600)
with open("/dev/stdout", "a") as again:
    print(json.dumps({
        "ids": [os.stat(path).st_uid for path in (own, f"{own}/old", f"{own}/folder/made")],
        "old": open(f"{own}/old").read(),
        "private": open("/mnt/flyte/private").read(),
        "changed": says(lambda: open("/mnt/flyte/private", "w")),
        "host's": says(lambda: open(f"{own}/hosts/private", "r+")),
        "host's folder": says(lambda: open(f"{own}/hosts/new", "w")),
        "chown": says(lambda: os.chown(f"{own}/old", 0, 0)),
    }), file=again)
"""


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[Mount, ...]]:
    """A folder of the task's own below one that is root's alone, with something of the host's mounted in it."""
    closed = tmp_path / "closed"
    for name in ("own/hosts", "fixed"):
        (closed / name).mkdir(parents=True)
    closed.chmod(0o700)
    for name in ("own/old", "fixed/private"):
        (closed / name).write_text(name)
        (closed / name).chmod(0o600)
    need_root("mounting something of the host's")
    subprocess.run([need("mount"), "-t", "tmpfs", "none", str(closed / "own/hosts")], check=True, timeout=30)
    try:
        (closed / "own/hosts/private").write_text("root's")
        (closed / "own/hosts/private").chmod(0o644)
        (closed / "own/hosts").chmod(0o755)
        yield Mount(closed / "own", "/home/flyte", writable=True), Mount(closed / "fixed", "/mnt/flyte")
    finally:
        subprocess.run([need("umount"), "-l", str(closed / "own/hosts")], check=True, timeout=30)


def test_its_files_are_roots_on_the_disk_and_roots_are_not_its(
    owned: Entrance, image: ImageRoot, parts: tuple[Mount, ...], tmp_path: Path
) -> None:
    assert run(owned, box_of(image, *parts), FILES, tmp_path / "log") == 0, (tmp_path / "log").read_text()
    seen = json.loads((tmp_path / "log").read_text())
    assert seen == {
        "ids": [1000, 1000, 1000],
        "old": "own/old",
        "private": "fixed/private",
        "changed": "Read-only file system",
        "host's": "Permission denied",
        "host's folder": "Permission denied",
        "chown": "Invalid argument",
    }
    made = tmp_path / "closed/own/folder/made"
    assert made.read_text() == "by the task"
    assert {path.stat().st_uid for path in (made, made.parent, tmp_path / "closed/own/old")} == {0}
    assert {path.stat().st_gid for path in (made, made.parent)} == {0}
    assert (tmp_path / "closed/own/hosts/private").read_text() == "root's"


def test_a_part_that_is_missing_is_named(owned: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    box = box_of(image, Mount(tmp_path / "gone", "/mnt/flyte"))
    mounts = Path("/proc/self/mountinfo").read_text()

    async def go() -> int:
        running = await process.start(owned, box, ["true"], {}, "/", output=tmp_path / "log")
        return await running.wait()

    assert asyncio.run(go()) == 125
    said = (tmp_path / "log").read_text()
    assert said == f"flyte-build: sandbox: {tmp_path / 'gone'}: No such file or directory\n"
    assert Path("/proc/self/mountinfo").read_text() == mounts, "what is staged is mounted for nobody else"
