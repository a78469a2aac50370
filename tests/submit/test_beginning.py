"""A task's time counts from when its inputs are read, and its process's where nobody says when that is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from flyte_build.submit import beginning
from flyte_build.submit.action import LaunchRequest
from flyte_build.submit.attempt import left
from flyte_build.submit.beginning import Beginning, Beginnings
from flyte_build.submit.storage import RunFolder, Storage

# Far more than any machine takes: who gets there waits for what does not come.
LONG = 600.0


def made(tmp_path: Path, *actions: str) -> RunFolder:
    folder = Storage(tmp_path).run("run")
    for action in actions:
        folder.inputs(action).parent.mkdir(parents=True)
        folder.inputs(action).write_bytes(b"inputs")
    return folder


def request(action: str, *args: str, timeout: float | None = 0.0) -> LaunchRequest:
    return LaunchRequest("run", action, 1, "env.task", "i", args or ("a0",), {}, Path("log"), timeout=timeout)


def go(folder: RunFolder, body: Callable[[Beginnings], Awaitable[None]]) -> None:
    async def main() -> None:
        beginnings = Beginnings(folder)
        try:
            async with asyncio.timeout(LONG):
                await body(beginnings)
        finally:
            beginnings.close()

    asyncio.run(main())


def test_time_counts_from_when_the_inputs_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginning, "PATIENCE", 10 * LONG)
    folder = made(tmp_path, "one", "two")

    async def body(beginnings: Beginnings) -> None:
        with beginnings.of(request("one")) as one, beginnings.of(request("two")) as two:
            async with two.within(0.0):
                folder.inputs("one").read_bytes()
                with pytest.raises(TimeoutError):
                    async with one.within(0.0):
                        await asyncio.sleep(LONG)
            # It was read again, by somebody else, when its time was over.
            folder.inputs("one").read_bytes()
            await asyncio.sleep(0)

    go(folder, body)


def test_inputs_that_were_opened_before_the_limit_is_held_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginning, "PATIENCE", 10 * LONG)
    folder = made(tmp_path, "one")

    async def body(beginnings: Beginnings) -> None:
        with beginnings.of(request("one")) as one:
            one.tell()
            with pytest.raises(TimeoutError):
                async with one.within(0.0):
                    await asyncio.sleep(LONG)

    go(folder, body)


def test_who_never_comes_to_its_inputs_has_its_time_and_the_runtimes(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with Beginning(0.0).within(0.0):
                await asyncio.sleep(LONG)

    asyncio.run(main())


@pytest.mark.parametrize("args", [("/bin/sh", "-c", "true"), ("a0",)])
def test_time_counts_from_the_processs_start_where_no_runtime_reads_inputs(
    tmp_path: Path, args: tuple[str, ...]
) -> None:
    folder = made(tmp_path)  # a container's command, and inputs that are not there

    async def body(beginnings: Beginnings) -> None:
        with beginnings.of(request("one", *args)) as one, pytest.raises(TimeoutError):
            async with one.within(0.0):
                await asyncio.sleep(LONG)

    go(folder, body)


def test_a_task_without_a_limit_is_held_to_none(tmp_path: Path) -> None:
    folder = made(tmp_path, "one")

    async def body(beginnings: Beginnings) -> None:
        with beginnings.of(request("one", timeout=None)) as one:
            async with one.within(None):
                folder.inputs("one").read_bytes()
                await asyncio.sleep(0)

    go(folder, body)


def test_a_deadline_counts_from_when_the_action_was_queued() -> None:
    assert left(None, 100.0, 150.0) is None
    assert left(60.0, 100.0, 150.0) == 10.0
    assert left(60.0, 100.0, 500.0) == 0.0
    assert left(60.0, 100.0, 90.0) == 60.0, "a clock that was set back gives no more than all of it"
