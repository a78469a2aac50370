"""How an attempt that shares its folders is counted at its end: at once where that is little, else by a thread."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from flyte_build.submit.action import LaunchRequest, Outcome, Resources
from flyte_build.submit.watch import Watched

from .test_watch import Machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize("many", [0, 8, 9])
@pytest.mark.parametrize("quick", [True, False])
def test_of_one_that_shares_its_folders_a_few_files_are_counted_at_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, many: int, quick: bool
) -> None:
    """In the event loop, where that is no matter; many are a thread's, and so is what takes long."""
    watch = machine.watch(disk=1 << 20)
    threads: list[str] = []
    request = LaunchRequest("r", "a1", 1, "t", "i", (), {}, Path("log"), Resources())

    def noted(how: str) -> Outcome:
        threads.append(f"{how} {threading.current_thread() is threading.main_thread()}")
        return Outcome(3)

    async def go() -> Watched:
        async with watch.over(request, ()) as watched:
            for number in range(many):
                machine.run.data("a1", 1).mkdir(parents=True, exist_ok=True)
                (machine.run.data("a1", 1) / f"{number}").write_bytes(b"x")
            watched.then = lambda: noted("then")
            watched.soon = lambda: noted("soon") if quick else None
        return watched

    found = asyncio.run(go())
    assert found.used.files == many
    assert found.came_to == Outcome(3)
    assert threads == [f"soon {True}" if quick and many <= 8 else f"then {False}"]


def test_one_that_wrote_a_single_large_file_is_told_at_once_too(machine: Machine) -> None:
    watch = machine.watch(disk=100_000)
    request = LaunchRequest("r", "a1", 1, "t", "i", (), {}, Path("log"), Resources())

    async def go() -> Watched:
        async with watch.over(request, ()) as watched:
            machine.run.data("a1", 1).mkdir(parents=True)
            machine.write(machine.run.data("a1", 1) / "x", 200_000)
            watched.soon = watched.then = lambda: Outcome(3)
        return watched

    found = asyncio.run(go())
    assert found.outcome is not None
    assert (found.outcome.reason, found.came_to) == ("disk", None)
