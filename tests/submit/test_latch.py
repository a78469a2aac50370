"""An event that costs little: whoever waits goes on, whatever comes next."""

from __future__ import annotations

import asyncio

import pytest

from flyte_build.submit.latch import Latch


def test_who_waits_goes_on_and_who_comes_later_does_not_wait() -> None:
    async def work() -> None:
        latch = Latch()
        waiting = [asyncio.create_task(latch.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not latch.is_set()
        assert not any(one.done() for one in waiting)
        latch.set()
        latch.set()
        await asyncio.wait_for(asyncio.gather(*waiting, latch.wait()), 60)
        assert latch.is_set()

    asyncio.run(work())


def test_cleared_at_once_it_still_wakes_and_is_waited_for_anew() -> None:
    async def work() -> None:
        latch = Latch()
        waiting = asyncio.create_task(latch.wait())
        await asyncio.sleep(0)
        latch.set()
        latch.clear()
        await asyncio.wait_for(waiting, 60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(latch.wait(), 0.01)

    asyncio.run(work())


def test_who_gives_up_leaves_the_others() -> None:
    async def work() -> None:
        latch = Latch()
        first, second = asyncio.create_task(latch.wait()), asyncio.create_task(latch.wait())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        latch.set()
        await asyncio.wait_for(second, 60)
        assert first.cancelled()
        assert latch._waiting == ()

    asyncio.run(work())
