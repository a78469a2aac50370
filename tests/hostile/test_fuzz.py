"""Each target of the fuzzer for some hundred cases, and what watches over them; `./dev fuzz` runs longer."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from .corpus_of import KEPT, write_corpus
from .fuzz import CORPUS, TARGETS, Crash, Stream, fuzz, one
from .fuzz_guard import Guard
from .fuzz_paths import Paths, lines
from .fuzz_targets import FOUND, seeds

CASES, SECONDS = 300, 1.0
# Two readers, of which one reads what the other's writer makes: pax headers are never in a .deb.
_REFUSED = {("tar", "layer")}


@pytest.mark.parametrize("name", TARGETS)
def test_honest_seeds_are_taken(name: str) -> None:
    for path in sorted((CORPUS / TARGETS[name].seeds).iterdir()):
        if path.name != FOUND:
            assert one(name, path.read_bytes()) is ((name, path.name) not in _REFUSED), path


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_changed_is_taken_or_refused_in_words(name: str) -> None:
    end = time.monotonic() + SECONDS
    done = fuzz(name, 0, lambda number: number >= CASES or (number > 0 and time.monotonic() > end))
    assert done.crashes == []
    assert done.cases > 0


def test_a_stream_of_cases_is_the_same_everywhere() -> None:
    first, second, other = Stream("lock", 7), Stream("lock", 7), Stream("lock", 8)
    cases = [first.next() for _ in range(20)]
    assert cases == [second.next() for _ in range(20)]
    assert cases != [other.next() for _ in range(20)]
    assert len({*cases}) > 15


def test_the_corpus_is_what_the_builders_make(tmp_path: Path) -> None:
    """Names only: a host's zlib may make other streams."""
    write_corpus(tmp_path)
    made = {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    there = {p.relative_to(CORPUS) for p in CORPUS.rglob("*") if p.is_file() and p.name != FOUND}
    assert not {str(p) for p in made} & KEPT, "a seed that is to stay as it is would be written anew"
    assert made | {Path(p) for p in KEPT} == there
    assert all(seeds(target) for target in TARGETS.values())
    assert sum(p.stat().st_size for p in CORPUS.rglob("*") if p.is_file()) < 1 << 20


def test_a_traceback_is_a_crash_whose_input_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(data: bytes, folder: Path) -> None:
        assert data in known, "a division"

    known = seeds(TARGETS["lock"])
    monkeypatch.setitem(TARGETS, "lock", replace(TARGETS["lock"], run=broken))
    done = fuzz("lock", 0, lambda number: number >= 3, findings=tmp_path)
    (crash,) = done.crashes
    assert crash.startswith("lock: AssertionError: a division")
    (path,) = tmp_path.rglob("*/*")
    assert crash.endswith(f"./dev fuzz lock --input {path}")
    with pytest.raises(Crash):
        one("lock", path.read_bytes())


_OUTSIDE: dict[str, Callable[[Path], object]] = {
    "a file": lambda folder: (folder.parent / "x").write_bytes(b"x"),
    "a file of the host": lambda _: os.open("/etc/x", os.O_WRONLY | os.O_APPEND),
    "a file through a link": lambda folder: [(folder / "l").symlink_to("/etc"), (folder / "l" / "x").write_bytes(b"x")],
    "a link's file": lambda folder: [(folder / "l").symlink_to("/etc/x"), (folder / "l").write_bytes(b"x")],
    "a file beside an open folder": lambda folder: os.open(
        "../x", os.O_WRONLY | os.O_CREAT, dir_fd=os.open(folder, os.O_PATH)
    ),
    "a folder": lambda folder: (folder / "../x").mkdir(),
    "a mode": lambda _: os.chmod("/etc/hostname", 0o644),
    "a name": lambda folder: os.rename("/etc/nothing", folder / "x"),
    "a hard link": lambda folder: os.link("/etc/passwd", folder / "x"),
    "a removal": lambda _: os.unlink("/etc/nothing"),
    "reading the host": lambda _: Path("/etc/passwd").read_bytes(),
    "a process": lambda _: subprocess.run(["true"], check=False),
    "a connection": lambda _: socket.create_connection(("127.0.0.1", 9)),
    "what is left": lambda _: tempfile.mkdtemp(),
}


@pytest.mark.parametrize("what", _OUTSIDE)
def test_what_leads_out_is_a_crash(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(data: bytes, folder: Path) -> None:
        try:
            _OUTSIDE[what](folder)
        except BaseException:
            if data == b"let through":
                raise

    monkeypatch.setitem(TARGETS, "lock", replace(TARGETS["lock"], run=run))
    for data in (b"swallowed", b"let through"):
        with pytest.raises(Crash, match=r"would have|left "):
            one("lock", data)


def test_what_is_inside_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(data: bytes, folder: Path) -> None:
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b" / "x").write_bytes(data)
        (folder / "a" / "l").symlink_to("/etc")
        os.link(folder / "a" / "b" / "x", folder / "y")
        with tempfile.TemporaryDirectory() as other:
            (Path(other) / "x").write_bytes(data)
        held = os.open(folder / "a", os.O_PATH)
        os.close(os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=held))
        os.close(held)

    monkeypatch.setitem(TARGETS, "lock", replace(TARGETS["lock"], run=run))
    with Guard() as guard:
        assert one("lock", b"x", guard)
        assert list(guard.folder.iterdir()) == []
        assert one("lock", b"x", guard), "the next finds the folder empty"


def test_a_case_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(data: bytes, folder: Path) -> None:
        while True:
            try:
                while True:
                    pass
            except Exception:
                continue

    monkeypatch.setattr("tests.hostile.fuzz_guard.PATIENCE", 0.1)
    monkeypatch.setitem(TARGETS, "lock", replace(TARGETS["lock"], run=run))
    with pytest.raises(Crash, match="not done after"):
        one("lock", b"x")


def test_a_new_line_is_seen_once() -> None:
    def read(data: bytes) -> None:
        with pytest.raises(Exception, match=r"."):
            TARGETS["lock"].run(data, Path())

    paths = Paths()
    try:
        new = []
        for data in (b"[]", b"[]", b'{"schema": 99}', b"{"):
            with paths:
                read(data)
            new.append(paths.new > 0)
    finally:
        paths.close()
    assert new == [True, False, True, True]
    assert any(file.endswith("locks/lockfile.py") for file, _ in lines(lambda: read(b"[]")))
