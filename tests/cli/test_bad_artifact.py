"""Bad input: downloads that break off or bring other bytes, and wheels and packages that are what was locked, and bad.

Whatever happens, the store holds only what its names say, and the next build goes on from it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..support.debs import Symlink, build_deb
from ..support.locking import whole_lock
from ..support.offline import Offline, workflow
from ..support.wheels import MUTATIONS

ALPHA = "alpha-1.0-py3-none-any.whl"
NOT_AS_LOCKED = "hint: what is served is not what was locked: ask the owner of the index or mirror, or lock again\n"
FAULTY = "hint: the bytes are those that were locked, so the fault is in them: lock another version, or leave it out\n"


@pytest.fixture(autouse=True)
def _locked(offline: Offline) -> Iterator[None]:
    offline.write(workflow("low: alpha"))
    offline.ok("lock", "flow.py")
    locks = {p: p.read_bytes() for p in offline.lockfiles.iterdir()}
    yield
    offline.verified()
    assert not [p for p in (offline.store / "tmp").rglob("*") if p.name.startswith(("layer", "scratch"))]
    assert {p.name for p in offline.lockfiles.iterdir()} == {p.name for p in locks}


def relock(offline: Offline, path: Path) -> None:
    """Make the lock promise the bytes of ``path``, as if they had been those when it was made."""
    data = path.read_bytes()
    lock = offline.lockfiles / "low.json"
    raw = whole_lock(lock)
    for platform in raw["platforms"].values():
        for artifact in (*platform["wheels"], *platform["debs"]):
            if artifact["file"] == path.name:
                artifact |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    lock.write_text(json.dumps(raw))


# -- on the way ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_download_that_breaks_off_goes_on_where_it_stopped(offline: Offline) -> None:
    served = offline.publish("alpha", files={"alpha/__init__.py": "x = 1\n" * 20_000}, method=0)
    relock(offline, served)
    offline.index.cuts[ALPHA] = 50_000
    said = offline.refused(6, "build", "flow.py", "-q")
    assert f"error: {ALPHA}: cannot be fetched: {offline.index.url[:-7]}/files/{ALPHA}: " in said
    assert "run again" in said or "try again" in said
    partial = list((offline.store / "tmp").rglob(hashlib.sha256(served.read_bytes()).hexdigest()))
    assert [p.stat().st_size for p in partial] == [50_000], "what came is kept for the next time"
    offline.index.cuts.clear()
    offline.index.asked.clear()
    offline.ok("build", "flow.py")
    assert [a for a in offline.index.asked if "/files/alpha" in a] == [f"GET /files/{ALPHA}"]


def test_a_server_that_hangs_up(offline: Offline) -> None:
    offline.index.failing["/files/alpha"] = itertools.repeat(0)
    said = offline.refused(6, "build", "flow.py", "-q")
    assert f"error: {ALPHA}: cannot be fetched: " in said
    assert "hint: the index may be down or this machine offline; try again, or configure another index\n" in said
    assert said.count("Server disconnected") == 1
    offline.index.failing.clear()
    offline.ok("build", "flow.py")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda good: good[:-20], "expected 891 bytes, found 871"),
        (lambda good: good + b"more", "expected 891 bytes, found "),
        (lambda good: good.replace(b"alpha", b"alphb"), "expected SHA-256 "),
    ],
)
def test_other_bytes_than_were_locked(offline: Offline, change: Callable[[bytes], bytes], said: str) -> None:
    served = offline.index.folder / ALPHA
    good = served.read_bytes()
    assert len(good) == 891
    served.write_bytes(change(good))
    message = offline.refused(6, "build", "flow.py", "-q")
    assert f"error: {ALPHA}: cannot be fetched: " in message
    assert said in message
    assert NOT_AS_LOCKED in message
    served.write_bytes(good)
    offline.ok("build", "flow.py")


def test_a_wheel_that_is_nowhere(offline: Offline) -> None:
    (offline.index.folder / ALPHA).unlink()
    said = offline.refused(6, "build", "flow.py", "-q")
    assert f"error: {ALPHA}: cannot be fetched: " in said
    assert "404 Not Found\n" in said
    assert "hint: check the network and the configured indexes and mirrors, then run again" in said


def test_a_package_that_left_the_archive(offline: Offline) -> None:
    (gone,) = offline.archive.root.rglob("tar_1.0_amd64.deb")
    gone.unlink()
    said = offline.refused(6, "build", "flow.py", "-q")
    assert "error: tar_1.0_amd64.deb: cannot be fetched: " in said
    assert "404" in said
    assert "hint: " in said


# -- as locked, and bad ----------------------------------------------------------------------------

WHEELS = {
    "bad-crc": "alpha/__init__.py`: expected CRC-32 deadbeef, found ",
    "bad-stream": "alpha/__init__.py`: ",
    "duplicate": "`alpha/__init__.py`: the archive holds this name twice",
    "not-a-zip": "not a zip archive, or cut off",
    "record-hash-value": "alpha/__init__.py`: expected sha256 ",
    "symlink": "`evil`: a symbolic link, which wheels may not hold",
    "truncated": "not a zip archive, or cut off",
    "whiteout": "`evil/.wh.passwd`: the path has a component `.wh.passwd`, which would be a whiteout in a layer",
    "zip-slip": "`../../evil.py`: the path has a component `..`",
}


@pytest.mark.parametrize("mutation", WHEELS)
def test_a_corrupt_wheel(offline: Offline, mutation: str) -> None:
    assert mutation in MUTATIONS
    good = (offline.index.folder / ALPHA).read_bytes()
    relock(offline, offline.publish("alpha", mutate=mutation))
    for _ in range(2):
        said = offline.refused(8, "build", "flow.py", "-q")
        assert f"error: alpha 1.0: {ALPHA}: " in said
        assert WHEELS[mutation] in said
        assert FAULTY in said
    (offline.index.folder / ALPHA).write_bytes(good)
    relock(offline, offline.index.folder / ALPHA)
    offline.ok("build", "flow.py")


@pytest.mark.parametrize(
    ("mutation", "said"),
    [
        ("record-misses", "`alpha/__init__.py` is in the wheel, and not listed"),
        ("record-missing-file", "`gone.py` is listed, and not in the wheel"),
    ],
)
def test_a_record_that_is_not_what_its_wheel_holds_is_said_and_installed(
    offline: Offline, mutation: str, said: str
) -> None:
    assert mutation in MUTATIONS
    relock(offline, offline.publish("alpha", mutate=mutation))
    done = offline.ok("build", "flow.py", "-q")
    assert f"warning: {ALPHA}: its RECORD is not what it holds, which is installed: {said}" in done.err


def _deb(folder: Path, kind: str) -> Path:
    if kind == "escape":
        return build_deb(folder, "tar", "1.0", {"../../evil": b"x"}, parents=False)
    if kind == "whiteout":
        return build_deb(folder, "tar", "1.0", {"usr/.wh.bin": b"x"})
    if kind == "compression":
        return build_deb(folder, "tar", "1.0", {"usr/bin/tar": b"x"}, compression="zst")
    if kind == "conflict":
        return build_deb(folder, "tar", "1.0", {"usr/bin/python3.11": (0o755, b"mine")})
    if kind == "link":
        return build_deb(folder, "tar", "1.0", {"usr/share/a": Symlink("/etc"), "usr/share/a/passwd": b"x"})
    path = build_deb(folder, "tar", "1.0", {"usr/bin/tar": b"x" * 5000})
    data = path.read_bytes()
    damaged = {
        "html": b"<html>sign in first</html>",
        "cut": data[: len(data) // 2],
        "stream": data.replace(data[-60:-20], bytes(40)),
        "format": data.replace(b"2.0\n", b"9.0\n"),
    }
    path.write_bytes(damaged[kind])
    return path


@pytest.mark.parametrize(
    "kind", ["html", "cut", "stream", "format", "escape", "whiteout", "compression", "conflict", "link"]
)
def test_a_corrupt_deb(offline: Offline, kind: str) -> None:
    (served,) = offline.archive.root.rglob("tar_1.0_amd64.deb")
    good = served.read_bytes()
    relock(offline, _deb(served.parent, kind))
    said = offline.refused(8, "build", "flow.py", "-q")
    assert "tar_1.0_amd64.deb" in said
    assert FAULTY in said
    served.write_bytes(good)
    relock(offline, served)
    offline.ok("build", "flow.py")
