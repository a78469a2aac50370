"""A run's event loop where another one is running, and where none is."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from flyte_build.submit.loop import run_apart, seldom_collected


async def work(value: int) -> tuple[int, int]:
    await asyncio.sleep(0)
    return value, threading.get_ident()


async def fails() -> None:
    raise ValueError("no")


def test_without_a_loop_it_is_this_thread() -> None:
    assert run_apart(work(1)) == (1, threading.get_ident())
    with pytest.raises(ValueError, match="no"):
        run_apart(fails())


def test_in_a_loop_it_is_another_thread() -> None:
    async def program() -> tuple[int, int]:
        with pytest.raises(ValueError, match="no"):
            run_apart(fails())
        return run_apart(work(2))

    value, thread = asyncio.run(program())
    assert value == 2
    assert thread != threading.get_ident()


def test_an_interrupt_cancels_the_work_and_waits_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    begun = threading.Event()

    async def long() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            said.append("taken apart")
            raise

    join = threading.Thread.join

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        if self.name == "flyte-build run" and not said and begun.wait(30):
            monkeypatch.setattr(threading.Thread, "join", join)
            raise KeyboardInterrupt
        join(self, timeout)

    async def program() -> None:
        run_apart(long())

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(program())
    assert said == ["taken apart"]


def test_the_collector_is_as_it_was_afterwards() -> None:
    gc.unfreeze()  # what the tests themselves hold so
    try:
        before = gc.get_threshold()
        with seldom_collected():
            assert gc.get_threshold()[0] > before[0]
            assert gc.get_freeze_count() > 0
        assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
    finally:
        gc.freeze()


def test_who_froze_what_he_has_keeps_it_so() -> None:
    gc.freeze()
    count, thresholds = gc.get_freeze_count(), gc.get_threshold()
    with seldom_collected():
        assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() == count > 0
