"""Bad input: locks that are missing, stale, edited by hand or from the future. None is ever believed, or lost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ..support.locking import whole_lock
from ..support.offline import Offline, snapshot, workflow


@pytest.fixture
def low(offline: Offline) -> Path:
    """The lock of environment ``low``."""
    offline.locked()
    return offline.lockfiles / "low.json"


READERS = (
    ["plan", "flow.py"],
    ["build", "flow.py"],
    ["run", "flow.py", "main", "--x", "1"],
    ["lock", "flow.py", "--check"],
)


def test_no_lock(offline: Offline) -> None:
    for command in (*READERS[:2], ["run", "--locked", *READERS[2][1:]], READERS[3]):
        said = offline.refused(4, *command)
        assert "error: locks are stale or missing:\n" in said
        assert "low: no lock (lockfiles/low.json)\n" in said
        assert "top: no lock (lockfiles/top.json)\n" in said
        assert "hint: run `flyte-build lock flow.py`\n" in said
    assert not offline.lockfiles.exists()
    assert not offline.index.asked


def test_a_stale_lock_says_what_changed(offline: Offline, low: Path) -> None:
    before = snapshot(offline.lockfiles)
    offline.write(workflow("low: alpha beta", "top(low): alpha beta"))
    for command in READERS:
        said = offline.refused(4, *command)
        assert "error: 1 lock is stale or missing:\n" in said
        assert "low: step 1 (pip), requirements: +beta\n" in said
        assert "hint: run `flyte-build lock flow.py`\n" in said
    assert snapshot(offline.lockfiles) == before
    done = offline.ok("lock", "flow.py")
    assert re.search(r"^low +written ", done.out, re.M)
    assert re.search(r"^top +unchanged ", done.out, re.M)
    assert snapshot(offline.lockfiles)["top.json"] == before["top.json"]


EDITS = {
    "a number in the recipe": (
        '"python": "3.11"',
        '"python": "3.12"',
        "the recipe does not have the fingerprint stated",
    ),
    "a hash": ('"sha256": "', '"sha256": "xyz', r'\.sha256: expected 64 hexadecimal digits, found "xyz'),
    "a size": ('"size": ', '"size": -', r"\.size: expected a size in bytes, found -"),
    "a new key": ('"schema": 2', '"schema": 2, "note": 1', r'\$\.note: expected one of apart, .*, found "note"'),
    "an old schema": ('"schema": 2', '"schema": 0', r"\$\.schema: expected 1 or 2, found 0"),
    "another environment": ('"environment": "low"', '"environment": "high"', "expected the lock of environment low"),
    "a path in a name": ('"file": "alpha', '"file": "../alpha', r"\.file: expected a wheel file name, found"),
    "not JSON": ('"schema": 2', '"schema": 2]', r"low\.json:\d+:\d+: not JSON"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_lock_edited_by_hand(offline: Offline, low: Path, edit: str) -> None:
    old, new, said = EDITS[edit]
    good = low.read_text()
    assert old in good
    low.write_text(good.replace(old, new, 1))
    before = snapshot(offline.lockfiles)
    for command in READERS:
        message = offline.refused(4, *command)
        assert re.search(said, message), message
        assert "error: lockfiles/low.json" in message
        assert "hint: " in message
        assert re.search(r"run `flyte-build lock( flow.py)?` again", message)
    assert snapshot(offline.lockfiles) == before
    assert not (offline.store / "oci" / "blobs").exists(), "nothing was built from it"
    # Locking anew is what the hint says, and the way out: it says what it replaced.
    done = offline.ok("lock", "flow.py")
    assert "it is made anew" in done.err
    assert low.read_text() == good


def test_a_lock_from_a_future_schema(offline: Offline, low: Path) -> None:
    raw = json.loads(low.read_text())
    low.write_text(json.dumps(raw | {"schema": 99, "beyond": "what is known"}))
    before = snapshot(offline.lockfiles)
    for command in (*READERS, ["lock", "flow.py"], ["lock", "flow.py", "--upgrade"]):
        said = offline.refused(4, *command)
        assert "error: lockfiles/low.json: lock schema 99 is newer than this flyte-build knows (2)\n" in said
        assert "hint: upgrade flyte-build" in said
    assert snapshot(offline.lockfiles) == before, "what a newer version wrote is not overwritten"


def test_a_lock_that_cannot_be_read(offline: Offline, low: Path) -> None:
    low.write_bytes(b"\xff\xfe\x00")
    assert "lockfiles/low.json: cannot be read: " in offline.refused(4, "plan", "flow.py")
    low.unlink()
    low.mkdir()
    assert "lockfiles/low.json: cannot be read: " in offline.refused(4, "plan", "flow.py")


def test_locked_never_writes(offline: Offline, low: Path) -> None:
    low.unlink()
    before = snapshot(offline.lockfiles)
    offline.refused(4, "run", "--locked", "flow.py", "main", "--x", "1")
    assert snapshot(offline.lockfiles) == before
    offline.refused(4, "plan", "flow.py")
    assert snapshot(offline.lockfiles) == before, "what only looks locks nothing"


def test_what_was_never_locked_is_locked_beside_what_was(offline: Offline, low: Path) -> None:
    low.unlink()
    top = (offline.lockfiles / "top.json").read_text()
    done = offline("run", "flow.py", "main", "--x", "1")
    assert f"no lock yet: locking low in {offline.lockfiles.name}\n" in done.err
    assert "answers no environment" not in done.err
    assert low.is_file()
    assert json.loads((offline.lockfiles / "top.json").read_text())["fingerprint"] == json.loads(top)["fingerprint"]


def test_a_lock_of_the_first_schema_answers_as_it_is_and_is_written_anew_by_lock(offline: Offline, low: Path) -> None:
    new = low.read_text()
    low.write_text(json.dumps(whole_lock(low), indent=2))
    old = low.read_text()
    offline.ok("lock", "flow.py", "--check")
    offline.ok("plan", "flow.py")
    assert low.read_text() == old
    offline.ok("lock", "flow.py")
    assert low.read_text() == new
