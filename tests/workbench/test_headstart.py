"""What a run begins to unpack before the user's file is read: the images of the last build, if anybody knows them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flyte_build.kernel.platforms import host_platform
from flyte_build.store.seal_files import find_listing
from flyte_build.submit.ahead import main
from flyte_build.workbench import headstart
from tests.submit.oci import Made, image

ONE, TWO = ("sha256:" + digit * 64 for digit in "12")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of what would be started, which is told to end when it is ended."""
    found: list[list[str]] = []

    class Process:
        stdout = None

        def __init__(self, words: list[str], **_: object) -> None:
            found.append(words)

        def terminate(self) -> None:
            found.append(["terminate"])

        def wait(self) -> None:
            found.append(["wait"])

    monkeypatch.setattr(subprocess, "Popen", Process)
    return found


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "flow.py"


def note(file: Path, images: dict[str, str], platform: str | None = None) -> None:
    tasks = [SimpleNamespace(name=n, full_name=f"{e}.{n}", environment=e) for n, e in (("a", "low"), ("b", "top"))]
    bench = SimpleNamespace(file=file, tasks=tasks, store=SimpleNamespace(root=file.parent / "store"))
    built = [
        SimpleNamespace(environment=e, manifest_digest=d, platform=platform or host_platform())
        for e, d in images.items()
    ]
    headstart.note(cast(Any, bench), cast(Any, built))


@pytest.mark.parametrize(("task", "digests"), [("a", [ONE, TWO]), ("top.b", [TWO, ONE])])
def test_the_images_of_the_task_come_first(file: Path, started: list[list[str]], task: str, digests: list[str]) -> None:
    note(file, {"low": ONE, "top": TWO})
    begun = headstart.begin(Path("flow.py"), task)
    assert begun is not None
    [[python, *words]] = started
    assert (python, words) == (
        sys.executable, ["-P", "-m", "flyte_build.submit.ahead", str(file.parent / "store"), *digests],
    )  # fmt: skip
    begun.end()
    assert started[1:] == [["terminate"], ["wait"]]


def test_nothing_begins_where_nobody_knows(file: Path, started: list[list[str]]) -> None:
    """No build of this file, another task, another machine's images, all unpacked, or a note that is none."""
    assert headstart.begin(file, "a") is None
    note(file, {"low": ONE}, "linux/other")
    assert headstart.begin(file, "a") is None
    note(file, {"low": ONE})
    assert headstart.begin(file, "c") is None
    assert headstart.begin(file.parent / "other.py", "a") is None
    (file.parent / "store" / "roots" / ONE[7:]).mkdir(parents=True)
    assert headstart.begin(file, "a") is None
    (kept,) = (file.parent / "store" / "plans").iterdir()
    for broken in ("", "[]", "{}", '{"schema": 2, "tasks": {"a": "low"}, "images": {"low": "x"}}', '{"images": 1}'):
        kept.write_text(broken)
        assert headstart.begin(file, "a") is None
    assert started == []


def test_what_is_started_unpacks_and_says_its_seals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What it cannot unpack is for the run to find. All but the first image is unpacked gently."""
    gentle: list[int] = []
    # The tests that come after these ones are of the same process.
    monkeypatch.setattr(os, "nice", gentle.append)
    good = image(tmp_path / "oci" / "blobs" / "sha256", [[Made("usr/bin/python3", b"", 0o755)]], env=["PATH=/usr/bin"])
    main([str(tmp_path), good])
    assert gentle == []
    listing = find_listing(tmp_path / "roots" / good[7:])
    assert listing is not None
    # Of what it finds there it says nothing.
    main([str(tmp_path), good, ONE])
    assert gentle == [10]
    assert [p.name for p in (tmp_path / "roots").iterdir() if p.is_dir()] == [good[7:]]
    main([str(tmp_path / "nothing"), ONE])
    assert capfd.readouterr() == (f"{good} {listing.seal}\n", "")


def test_a_seal_is_known_once_all_of_it_was_said() -> None:
    reads, writes = os.pipe()
    with open(reads, "rb", buffering=0) as stdout:
        process = SimpleNamespace(stdout=stdout, terminate=lambda: None, wait=lambda: None)
        begun = headstart.Headstart(cast(Any, process))
        assert begun.sealed(ONE) is None
        os.write(writes, f"{ONE} sha256:ab".encode())
        assert begun.sealed(ONE) is None
        os.write(writes, f"cd\nnothing that it says\n{TWO} sha256:ef\n".encode())
        assert (begun.sealed(ONE), begun.sealed(TWO), begun.sealed("nothing")) == ("sha256:abcd", "sha256:ef", None)
        os.close(writes)
        assert begun.sealed(TWO) == "sha256:ef"
        begun.end()
        assert stdout.closed


def test_what_was_begun_is_asked_until_it_ends(
    file: Path, started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headstart.Headstart, "sealed", lambda _, digest: "sha256:ab" if digest == ONE else None)
    note(file, {"low": ONE})
    assert headstart.sealed(ONE) is None
    begun = headstart.begin(file, "a")
    assert begun is not None
    assert (headstart.sealed(ONE), headstart.sealed(TWO)) == ("sha256:ab", None)
    begun.end()
    assert headstart.sealed(ONE) is None
