"""Pins as users meet them: ``build`` writes them, ``build --locked`` insists on them, doing nothing stays cheap."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from typing import Any

import pytest

from flyte_build.building.pins import pinned
from flyte_build.locks.lockfile import read, write
from flyte_build.locks.nouns import Lock, Pin
from flyte_build.planning.workspace import open_workspace

from ..support.offline import Offline, snapshot, workflow

AMD64 = "linux/amd64"


def lock_of(offline: Offline, environment: str) -> Lock:
    found = read(offline.lockfiles, environment)
    assert found is not None
    return found


@pytest.fixture
def built(offline: Offline) -> dict[str, str]:
    """The digests of ``flow.py``'s images, which are built."""
    offline.locked()
    images = offline.ok("build", "flow.py", "--json").json()["images"]
    return {i["environment"]: i["digest"] for i in images}


def test_a_build_pins_what_it_made_and_changes_nothing_else(offline: Offline) -> None:
    offline.locked()
    before = {name: lock_of(offline, name) for name in ("low", "top")}
    images = offline.ok("build", "flow.py", "--json").json()["images"]
    for image in images:
        lock = lock_of(offline, image["environment"])
        assert lock.pins[AMD64].digest == image["digest"]
        assert replace(lock, pins={}) == before[lock.environment]
    offline.ok("build", "flow.py", "--locked")
    assert offline.ok("lock", "flow.py", "--check").code == 0
    pinned_locks = snapshot(offline.lockfiles)
    offline.locked()
    offline.ok("build", "flow.py")
    assert snapshot(offline.lockfiles) == pinned_locks


def test_written_pins_are_said_once(offline: Offline) -> None:
    offline.locked()
    assert "pins written to lockfiles (2): commit them\n" in offline.ok("build", "flow.py").err
    assert "pins written" not in offline.ok("build", "flow.py").err
    offline.write(workflow("low: alpha beta", "top(low): alpha beta"))
    offline.locked()
    assert "pins written to lockfiles (1): commit them\n" in offline.ok("build", "flow.py").err


def test_locked_builds_only_what_is_pinned(offline: Offline, built: dict[str, str]) -> None:
    lock = lock_of(offline, "low")
    write(offline.lockfiles, replace(lock, pins={}))
    before = snapshot(offline.lockfiles)
    assert "has no pin for this platform" in offline.refused(15, "build", "flow.py", "--locked")
    assert snapshot(offline.lockfiles) == before
    shutil.rmtree(offline.store)
    said = offline.refused(15, "build", "flow.py", "--locked")
    assert "has no pin for this platform" in said
    assert not (offline.store / "artifacts").exists(), "refused before anything was fetched or built"
    offline.ok("build", "flow.py")
    assert lock_of(offline, "low") == lock
    offline.ok("build", "flow.py", "--locked")


def test_other_bytes_of_the_same_derivation_are_refused_always(offline: Offline, built: dict[str, str]) -> None:
    lock = lock_of(offline, "low")
    wrong = replace(lock.pins[AMD64], digest="sha256:" + "0" * 64)
    write(offline.lockfiles, replace(lock, pins={AMD64: wrong}))
    for options in ((), ("--locked",)):
        said = offline.refused(15, "build", "flow.py", *options)
        assert "low on linux/amd64: the image is not the one that" in said
        assert f"found    {built['low']}" in said
        assert "flyte-build verify" in said
    assert lock_of(offline, "low").pins == {AMD64: wrong}


def test_what_changed_since_the_pin_is_said(offline: Offline, built: dict[str, str]) -> None:
    """A copied file is in no lock, so the pin stays when it changes, and is then of another derivation."""
    text = workflow("low: alpha").replace("'alpha')", "'alpha').with_source_file('data.txt')", 1)
    offline.write("import os\nos.chdir(os.path.dirname(os.path.abspath(__file__)))\n" + text)
    (offline.project / "data.txt").write_text("one\n")
    offline.locked()
    offline.ok("build", "flow.py")
    offline.ok("build", "flow.py", "--locked")
    (offline.project / "data.txt").write_text("two\n")
    said = offline.refused(15, "build", "flow.py", "--locked")
    assert re.search(r"changed: .*data\.txt changed", said), said
    offline.ok("build", "flow.py")
    offline.ok("build", "flow.py", "--locked")


def test_a_pin_is_given_only_for_what_would_be_built_now(
    offline: Offline, built: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    workspace = open_workspace(offline.project / "flow.py")
    del sys.modules["flow"]  # another test has a module of that name
    environments = workspace.select()
    assert pinned(workspace, environments, AMD64) == built
    lock = lock_of(offline, "low")
    write(offline.lockfiles, replace(lock, pins={AMD64: Pin("sha256:" + "1" * 64, built["low"])}))
    assert pinned(workspace, environments, AMD64) == {"top": built["top"]}


def test_a_folder_of_locks_that_may_not_be_written_to_is_a_warning(
    offline: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    offline.locked()

    real = tempfile.mkstemp

    def refuse(*args: Any, **options: Any) -> tuple[int, str]:
        if options.get("dir") == offline.lockfiles:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(*args, **options)

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    done = offline.ok("build", "flow.py")
    assert "warning:" in done.err
    assert "may not be written to: the digests of low, top are not pinned" in done.err


def entry(offline: Offline, *arguments: str) -> tuple[str, bool]:
    """The command as the console script runs it: what it prints, and whether flyte had to be imported."""
    code = (
        "import atexit, sys\nfrom flyte_build.cli import entry\nsys.argv = ['flyte-build', *sys.argv[1:]]\n"
        "atexit.register(lambda: print('flyte' in sys.modules, file=sys.stderr))\nentry()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=offline.project
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, {"True": True, "False": False}[done.stderr.splitlines()[-1]]


@pytest.mark.slow
def test_the_second_build_after_the_pins_is_recorded(offline: Offline) -> None:
    offline.locked()
    assert entry(offline, "build", "flow.py")[1], "the first builds, and writes pins"
    # The second finds that there is nothing to do, and the first that comes late enough after the pins records it.
    first, imported = entry(offline, "build", "flow.py")
    tries = 1
    while imported and tries < 20:
        time.sleep(0.5)
        again, imported = entry(offline, "build", "flow.py")
        assert again == first
        tries += 1
    assert not imported
    assert entry(offline, "build", "flow.py") == (first, False)
    assert lock_of(offline, "low").pins
    # A pin that somebody edits ends that.
    lock = lock_of(offline, "low")
    write(offline.lockfiles, replace(lock, pins={AMD64: replace(lock.pins[AMD64], digest="sha256:" + "0" * 64)}))
    assert "the image is not the one" in offline.refused(15, "build", "flow.py")
