"""Who is beyond a limit is told so, with figures, and ended; who is not is left alone."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.submit import watch as watching
from flyte_build.submit.action import LaunchRequest, Outcome, Resources
from flyte_build.submit.limits import Limits, Reserve, Room, TaskLimits, shared_memory
from flyte_build.submit.storage import Storage
from flyte_build.submit.usage import Place, Usage
from flyte_build.submit.watch import Watch, Watched

GIB = 1 << 30
PLENTY = Room(100 * GIB, 50 * GIB, 1_000_000, 900_000)


class Machine:
    """A run's folder, a clock that stands still, and a file system of which we say what it has free."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run = Storage(folder / "runs").run("r")
        for path in (self.run.meta, self.run.raw, self.run.scratch):
            path.mkdir(parents=True)
        self.now, self.room = 0.0, PLENTY
        self.warnings: list[str] = []
        self.ended: list[str] = []
        monkeypatch.setattr(watching, "room", lambda path: self.room)

    def watch(self, **limits: int) -> Watch:
        return Watch(self.run, TaskLimits(**limits), self.warnings.append, lambda: self.now)

    def enter(self, watch: Watch, action: str, **resources: int) -> Watched:
        scratch = self.run.scratch / f"{action}-1"
        for path in (scratch, self.run.attempt(action, 1), self.run.data(action, 1)):
            path.mkdir(parents=True, exist_ok=True)
        request = LaunchRequest("r", action, 1, "t", "i", (), {}, Path("log"), Resources(**resources))
        watched = watch.enter(request, [Place(scratch, "", "/tmp")])
        watched._end = lambda: self.ended.append(action)
        return watched

    def write(self, path: Path, size: int) -> None:
        path.write_bytes(os.urandom(size))

    def later(self, watch: Watch, seconds: float = 1000.0) -> None:
        self.now += seconds
        watch.look()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize("place", ["scratch/a0-1", "raw/a0/1", "meta/a0/1"])
def test_a_task_beyond_its_disk(machine: Machine, place: str) -> None:
    watch = machine.watch()
    task, other = machine.enter(watch, "a0", disk=200_000), machine.enter(watch, "b1")
    machine.write(machine.run.path / place / "x", 100_000)
    machine.later(watch)
    assert task.outcome is None
    machine.write(machine.run.path / place / "y", 150_000)
    machine.later(watch)
    assert task.outcome is not None
    assert task.outcome.reason == "disk"
    inside = "/tmp" if place.startswith("scratch") else f"/mnt/flyte/runs/r/{place[:4].rstrip('/')}"
    words = task.outcome.message
    assert words.startswith("it asked for 200.0 kB on disk, and had 2")
    assert words.endswith(f"most of it in {inside}")
    assert (other.outcome, machine.ended) == (None, ["a0"])
    machine.later(watch)
    assert machine.ended == ["a0"]


def test_a_task_with_too_many_files(machine: Machine) -> None:
    watch = machine.watch(files=50)
    task = machine.enter(watch, "a0")
    for number in range(50):
        (machine.run.scratch / "a0-1" / str(number)).touch()
    machine.later(watch)
    assert task.outcome is None
    (machine.run.data("a0", 1) / "one").touch()
    machine.later(watch)
    assert task.outcome is not None
    assert task.outcome.reason == "files"
    assert task.outcome.message == "it may have 50 files, and had 51, most of them in /tmp"


def test_what_the_image_put_there_is_not_the_tasks(machine: Machine) -> None:
    watch = machine.watch(disk=100_000)
    scratch = machine.run.scratch / "a0-1"
    scratch.mkdir()
    machine.write(scratch / "model", 500_000)
    task = machine.enter(watch, "a0")
    machine.later(watch)
    assert task.outcome is None
    machine.write(scratch / "mine", 150_000)
    machine.later(watch)
    assert task.outcome is not None
    assert "may have 100.0 kB on disk, and had 15" in task.outcome.message


def test_a_count_waits_for_as_long_as_the_last_one_was_dear(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = machine.watch(disk=1 << 20)
    task = machine.enter(watch, "a0")
    counts = []

    def dear(self: Watched) -> None:
        counts.append(machine.now)
        machine.now += 2.0

    monkeypatch.setattr(Watched, "measure", dear)
    watch.look()
    for second in range(300):
        machine.now = max(machine.now, float(second))
        watch.look()
    assert counts == [1.0, 101.0, 201.0], "not before it could have written something"
    # As much was written as it may write: the next count is nearer, and still at most a tenth of the time.
    machine.room = replace(PLENTY, free=PLENTY.free - (2 << 20))
    counts.clear()
    for second in range(301, 340):
        machine.now = max(machine.now, float(second))
        watch.look()
    assert counts == [301.0]
    machine.room = replace(PLENTY, free=PLENTY.free - (4 << 20))
    machine.now = 320.0
    watch.look()
    assert counts == [301.0]
    machine.now = 321.0
    watch.look()
    assert counts == [301.0, 321.0]
    assert task.outcome is None


def test_it_is_counted_once_more_at_its_end(machine: Machine) -> None:
    watch = machine.watch(disk=100_000)
    quick = machine.enter(watch, "a0")
    machine.write(machine.run.data("a0", 1) / "x", 200_000)
    watch.leave(quick)
    assert quick.outcome is not None
    assert quick.outcome.reason == "disk"


def test_what_lies_in_nobodys_folder_counts_for_who_runs(machine: Machine) -> None:
    watch = machine.watch(disk=300_000)
    machine.write(machine.run.raw / "from before", 900_000)
    idle, task = machine.enter(watch, "a0"), machine.enter(watch, "b1")
    machine.write(machine.run.data("b1", 1) / "own", 100_000)
    machine.later(watch)
    (machine.run.raw / "hidden").mkdir()
    machine.write(machine.run.raw / "hidden/x", 250_000)
    machine.later(watch)
    assert task.outcome is not None, "with its own it is beyond its limit"
    assert "in /mnt/flyte/runs/r/raw" in task.outcome.message
    assert idle.outcome is None
    machine.later(watch)
    assert idle.outcome is None, "that was settled"


def test_what_an_ended_task_leaves_is_not_anothers(machine: Machine) -> None:
    watch = machine.watch(disk=300_000)
    first, second = machine.enter(watch, "a0"), machine.enter(watch, "b1")
    machine.write(machine.run.data("a0", 1) / "output", 250_000)
    machine.later(watch)
    watch.leave(first)
    machine.write(machine.run.data("b1", 1) / "output", 250_000)
    machine.later(watch)
    machine.later(watch)
    assert (first.outcome, second.outcome) == (None, None)
    # But who goes on writing there, whose it was, is beyond its own.
    machine.write(machine.run.data("a0", 1) / "more", 100_000)
    machine.later(watch)
    assert second.outcome is not None


def test_a_file_system_that_fills_up_ends_who_filled_it(machine: Machine) -> None:
    machine.room = Room(GIB, 1 << 20)
    watch = machine.watch(disk=GIB)
    small, large = machine.enter(watch, "a0"), machine.enter(watch, "b1")
    machine.write(machine.run.data("a0", 1) / "x", 50_000)
    machine.write(machine.run.data("b1", 1) / "x", 600_000)
    machine.room = Room(GIB, (1 << 19) - 100_000)
    machine.later(watch)
    assert small.outcome is None
    assert large.outcome is not None
    assert large.outcome.reason == "disk"
    assert "had 6" in large.outcome.message
    assert "its file system has 424.3 kB left, expected 524.3 kB" in large.outcome.message


def test_a_file_system_without_inodes_likewise(machine: Machine) -> None:
    machine.room = replace(PLENTY, inodes=1000, free_inodes=15)
    watch = machine.watch()
    task = machine.enter(watch, "a0")
    assert task.limits.files == 8
    for number in range(8):
        (machine.run.data("a0", 1) / str(number)).touch()
    machine.room = replace(PLENTY, inodes=1000, free_inodes=6)
    machine.later(watch)
    assert task.outcome is not None
    assert task.outcome.reason == "files"
    assert "had 8 files, and its file system has room for 6 more, expected 7" in task.outcome.message


def test_where_others_fill_it_no_task_is_ended(machine: Machine) -> None:
    machine.room = Room(GIB, 500 << 20)
    watch = machine.watch(disk=GIB)
    task = machine.enter(watch, "a0")
    machine.write(machine.run.data("a0", 1) / "x", 50_000)
    machine.room = Room(GIB, 1 << 20)
    machine.later(watch)
    machine.later(watch)
    assert task.outcome is None
    (warning,) = machine.warnings
    assert "almost full, and not by what tasks write there" in warning


def test_the_thread_ends_what_is_beyond_and_then_itself(machine: Machine) -> None:
    class Sandbox:
        pid = os.getpid()
        stopped = asyncio.Event()

        async def stop(self, grace: float = 5) -> int:
            assert grace == 0
            self.stopped.set()
            return 137

    async def go() -> Watched:
        watch = Watch(machine.run, TaskLimits(disk=100_000), machine.warnings.append)
        scratch = machine.run.scratch / "a0-1"
        scratch.mkdir()
        request = LaunchRequest("r", "a0", 1, "t", "i", (), {}, Path("log"))
        async with watch.over(request, [Place(scratch, "", "/tmp")]) as watched:
            sandbox = Sandbox()
            watched.runs(sandbox)
            machine.write(scratch / "x", 200_000)
            await asyncio.wait_for(sandbox.stopped.wait(), 60)
        thread = watch._thread
        if thread is not None:
            await asyncio.to_thread(thread.join, 60)
        return watched

    watched = asyncio.run(go())
    assert watched.outcome is not None
    assert watched.outcome.reason == "disk"
    assert not [t for t in threading.enumerate() if t.name == "flyte-build watch"]


@pytest.mark.parametrize(
    ("now", "reserve"),
    [
        (Room(100 * GIB, 50 * GIB), Reserve(5 * GIB)),
        (Room(10 * GIB, 9 * GIB), Reserve(GIB)),
        (Room(4000 * GIB, 900 * GIB, 1000, 800), Reserve(20 * GIB, 10)),
        # A machine that is almost full already: half of what there is.
        (Room(100 * GIB, GIB, 1000, 10), Reserve(GIB // 2, 5)),
    ],
)
def test_the_reserve(now: Room, reserve: Reserve) -> None:
    assert Reserve.of(now) == reserve
    assert reserve.lacking(now) is None
    assert reserve.lacking(replace(now, free=reserve.size - 1)) == "disk"


def test_whose_word_counts() -> None:
    reserve = Reserve(GIB, 100)
    assert Limits.of(7, TaskLimits(disk=8), PLENTY, reserve) == Limits(7, 899_900, asked=True)
    assert Limits.of(None, TaskLimits(disk=8, files=9), PLENTY, reserve) == Limits(8, 9)
    assert Limits.of(None, TaskLimits(), replace(PLENTY, free_inodes=None), reserve) == Limits(49 * GIB, 1_000_000)
    deep = Limits(1, 1).judge(Usage(deep=True))
    assert deep is not None
    assert deep.message == "it may have folders 200 deep in each other, and had deeper ones"
    hidden = Limits(1000, 1).judge(Usage(500), 600)
    assert hidden is not None
    assert hidden.message == "it may have 1.0 kB on disk, and had 1.1 kB, most of it in deleted files that were open"


def test_shared_memory() -> None:
    assert shared_memory(3, 5, 400) == 3
    assert shared_memory(None, 5, 400) == 5
    assert shared_memory(None, None, 400) == 100


def test_of_many_each_is_counted_the_more_seldom_and_their_process_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    monkeypatch.setattr(watching, "descendants", lambda pid: looked.append(pid) or [pid])
    watch = machine.watch()
    tasks = [machine.enter(watch, f"a{number}") for number in range(32)]
    for task in tasks:
        task.pid = 7
    machine.later(watch, 0.2)
    assert looked == []
    machine.later(watch, 0.3)
    assert looked == [7]
    assert {task.count.at for task in tasks} == {0.5}


def test_what_is_left_to_do_is_done_by_the_thread_that_counts(machine: Machine) -> None:
    watch = machine.watch(disk=100_000)
    well, beyond = machine.enter(watch, "a0"), machine.enter(watch, "b1")
    machine.write(machine.run.data("b1", 1) / "x", 200_000)
    for task in (well, beyond):
        task.then = lambda: Outcome(3)
        watch.leave(task)
    assert (well.outcome, well.came_to) == (None, Outcome(3))
    assert beyond.outcome is not None
    assert beyond.came_to is None
