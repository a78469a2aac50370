"""The door holds: whatever a task puts into its folders, and changes meanwhile, nothing else is read or written."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from flyteidl2.core import literals_pb2
from flyteidl2.task import common_pb2

from flyte_build.submit import door
from flyte_build.submit.outputs import Settlement, View

ROUNDS = 1000
SECRET = b"of the host"


@pytest.fixture(params=["openat2", "step by step"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to open what is below a folder."""
    monkeypatch.setattr(door, "_kernel_has_it", request.param == "openat2")
    return str(request.param)


@pytest.fixture
def run(tmp_path: Path, way: str) -> Path:
    """A run's folder, and beside it what no task may reach."""
    for name in ("run/meta/a/1", "run/raw", "run/kept", "host"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "host" / "secret").write_bytes(SECRET)
    return tmp_path / "run"


@contextmanager
def racing(change: Callable[[], None]) -> Iterator[None]:
    """``change`` again and again, in a thread, for the time of the block."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with suppress(OSError):
                change()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def untouched(run: Path) -> None:
    host = run.parent / "host"
    assert sorted(p.name for p in host.iterdir()) == ["secret"]
    assert (host / "secret").read_bytes() == SECRET


# -- one look --------------------------------------------------------------------------------------


def test_a_plain_file_is_read(run: Path) -> None:
    (run / "meta/a/1/outputs.pb").write_bytes(b"x" * 10)
    with door.folder(run) as top:
        assert door.read(top, "meta/a/1/outputs.pb") == b"x" * 10
        assert door.read(top, "meta/a/1/outputs.pb", 10) == b"x" * 10
        with pytest.raises(door.Refused, match="expected at most 9 bytes, found more"):
            door.read(top, "meta/a/1/outputs.pb", 9)
        with pytest.raises(FileNotFoundError):
            door.read(top, "meta/a/1/absent")


@pytest.mark.parametrize("path", ["meta", "meta/a", "meta/a/1", "meta/a/1/outputs.pb"])
def test_a_link_at_any_component_is_refused(run: Path, path: str) -> None:
    elsewhere = run.parent / "host"
    (elsewhere / "a/1").mkdir(parents=True)
    for folder in (elsewhere, elsewhere / "a", elsewhere / "a/1"):
        (folder / "outputs.pb").write_bytes(SECRET)
    place = run / path
    if place.is_dir():
        place.rename(run / "away")
    place.symlink_to({"meta": "../host", "meta/a": "../../host/a"}.get(path, "/etc/passwd"))
    with door.folder(run) as top:
        with pytest.raises(door.Refused):
            door.read(top, "meta/a/1/outputs.pb")
        assert not door.has_file(top, "meta/a/1/outputs.pb")
        with pytest.raises(door.Refused):
            door.make_folders(top, f"{path}/made")
    assert not list(elsewhere.rglob("made"))


@pytest.mark.parametrize(
    "path", ["../host/secret", "/etc/passwd", "meta/../../host/secret", "meta/\0", "..", "meta/.."]
)
def test_names_that_lead_out_are_refused(run: Path, path: str) -> None:
    with door.folder(run) as top, pytest.raises(OSError, match="expected"):
        door.read(top, path)


def test_what_is_no_file_is_named_and_never_waited_for(run: Path) -> None:
    place = run / "meta/a/1"
    os.mkfifo(place / "pipe")
    with socket.socket(socket.AF_UNIX) as s:
        handle = os.open(place, os.O_PATH)
        s.bind(f"/proc/self/fd/{handle}/socket")
        os.close(handle)
    (place / "folder").mkdir()
    said = {"pipe": "a named pipe", "socket": "a socket", "folder": "a folder"}
    with door.folder(run) as top:
        for name, what in said.items():
            with pytest.raises(door.Refused, match=f"expected a regular file, found {what}"):
                door.read(top, f"meta/a/1/{name}")
    if os.geteuid() == 0:
        os.mknod(place / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        with door.folder(run) as top, pytest.raises(door.Refused, match="found a device"):
            door.read(top, "meta/a/1/device")


def test_a_sparse_file_is_copied_with_its_holes(run: Path) -> None:
    source = run / "raw/sparse"
    with source.open("wb") as f:
        f.truncate(1 << 40)
        f.seek(1 << 30)
        f.write(b"middle")
    with door.folder(run / "raw") as raw, door.folder(run / "kept") as kept, door.open_file(raw, "sparse") as opened:
        door.copy_to(opened, kept, "sparse")
    made = run / "kept/sparse"
    assert made.stat().st_size == 1 << 40
    assert made.stat().st_blocks * 512 < 1 << 20
    with made.open("rb") as f:
        f.seek(1 << 30)
        assert f.read(6) == b"middle"


def test_an_endless_file_ends(run: Path) -> None:
    source = run / "raw/endless"
    source.write_bytes(b"x" * 1000)

    def grow() -> None:
        with source.open("ab") as f:
            f.write(b"x" * 100_000)

    with racing(grow), door.folder(run / "raw") as raw, door.folder(run / "kept") as kept:
        with door.open_file(raw, "endless") as opened:
            door.copy_to(opened, kept, "endless")
        while source.stat().st_size <= 1_000_000:
            pass
        with pytest.raises(door.Refused, match="found more"):
            door.read(raw, "endless", 1_000_000)
    assert (run / "kept/endless").stat().st_size >= 1000


def test_what_is_written_has_a_name_of_ours(run: Path) -> None:
    target = run / "kept/outputs.pb"
    target.symlink_to(run.parent / "host/secret")
    with door.folder(run / "kept") as kept:
        door.write(kept, "outputs.pb", b"new")
        for name in ("", ".", "..", "a/b", "../x"):
            with pytest.raises(door.Refused):
                door.write(kept, name, b"x")
    assert (target.is_symlink(), target.read_bytes()) == (False, b"new")
    assert [p.name for p in (run / "kept").iterdir()] == ["outputs.pb"]
    untouched(run)


# -- while a task changes what is looked at --------------------------------------------------------


def test_a_folder_that_is_swapped_for_a_link(run: Path) -> None:
    place, away, link = run / "meta/a/1", run / "meta/a/away", run / "meta/a/link"
    (place / "outputs.pb").write_bytes(b"the task's")
    link.symlink_to(run.parent / "host")
    (run.parent / "host/outputs.pb").write_bytes(SECRET)

    def swap() -> None:
        place.rename(away)
        link.rename(place)
        place.rename(link)
        away.rename(place)

    seen = set()
    with racing(swap), door.folder(run) as top:
        for _ in range(ROUNDS):
            with suppress(OSError):
                seen.add(door.read(top, "meta/a/1/outputs.pb"))
            with suppress(OSError):
                door.make_folders(top, "meta/a/1/made/deep")
    assert SECRET not in seen
    assert not (run.parent / "host/made").exists()
    assert (run.parent / "host/secret").read_bytes() == SECRET


def test_a_file_that_is_swapped_for_a_link_while_it_is_taken_over(run: Path) -> None:
    tmp = run.parent / "tmp"
    tmp.mkdir()
    real, link, place = tmp / "real", tmp / "link", tmp / "x"
    real.write_bytes(b"the task's")
    link.symlink_to(run.parent / "host/secret")

    def swap() -> None:
        for source in (real, link):
            with suppress(FileExistsError):
                place.unlink(missing_ok=True)
                if source is real:
                    os.link(real, place)
                else:
                    place.symlink_to(run.parent / "host/secret")

    blob = literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(uri="/tmp/x")))
    outputs = common_pb2.Outputs(literals=[common_pb2.NamedLiteral(name="o", value=blob)])
    (run / "meta/a/1/outputs.pb").write_bytes(outputs.SerializeToString())
    view = View({"/": run.parent / "image", "/tmp": tmp})
    (run.parent / "image").mkdir()
    with racing(swap):
        for number in range(ROUNDS // 4):
            files = run / "kept" / str(number)
            with suppress(OSError):
                Settlement(view, files, "/mnt/flyte/runs/r/kept").settle(
                    run, "meta/a/1/outputs.pb", run / "kept/outputs.pb", common_pb2.Outputs
                )
    taken = {p.read_bytes() for p in (run / "kept").rglob("x")}
    assert taken <= {b"the task's"}
    untouched(run)
