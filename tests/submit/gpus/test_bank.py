"""Devices are one holder's each, and an action waits until one is free; only those who wait for it share theirs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from flyte_build.submit.action import Resources
from flyte_build.submit.gpus.bank import Bank
from flyte_build.submit.gpus.nouns import Gpu, Gpus
from flyte_build.submit.scheduler import Scheduler

ONE, TWO = Resources(accelerator="gpu: 1", gpus=1), Resources(accelerator="gpu: 2", gpus=2)
PART = Resources(accelerator="A100: 1", gpus=1, partition=True)


def bank(*names: str, model: str = "NVIDIA A100-SXM4-80GB") -> Bank:
    return Bank(
        Gpus(tuple(Gpu(n, ((Path("/x"), f"/dev/nvidia{n}"),), "", model, ":" in n) for n in names or ("0", "1")))
    )


def names(devices: tuple[Gpu, ...]) -> list[str]:
    return [device.name for device in devices]


def running() -> bool:
    return False


def waiting() -> bool:
    return True


def test_each_is_one_holders() -> None:
    had = bank()
    assert names(had.take("a", ONE, running)) == ["0"]
    assert names(had.take("b", ONE, running)) == ["1"]
    assert not had.fits(1)
    had.give("a")
    assert had.fits(1)
    assert not had.fits(2)
    assert names(had.of("b")) == ["1"]


def test_a_partition_is_given_to_who_asks_for_one() -> None:
    had = bank("0", "1:0", "1:1")
    assert names(had.take("a", PART, running)) == ["1:0"]
    assert names(had.take("b", ONE, running)) == ["0"]


def test_who_asks_for_more_than_there_are_gets_all() -> None:
    had = bank("0")
    assert names(had.take("a", TWO, running)) == ["0"]
    assert had.lines(TWO) == ["tasks that ask for gpu: 2 get 1 here: this machine has no more"]


def test_only_those_who_all_wait_share() -> None:
    had = bank()
    had.take("parent", ONE, waiting)
    had.take("other", ONE, running)
    assert not had.fits(1)
    had.give("other")
    assert names(had.take("child", TWO, running)) == ["1", "0"]
    assert had.shared("child")
    had.give("child")
    assert not had.shared("parent")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Resources(), []),
        (ONE, []),
        (Resources(accelerator="A100: 1", gpus=1), []),
        (Resources(accelerator="A100_80G: 1", gpus=1), []),
        (Resources(accelerator="A10: 1", gpus=1), ["tasks that ask for A10 get NVIDIA A100-SXM4-80GB here"]),
        (
            Resources(accelerator="MI300X: 1"),
            ["tasks run without the accelerators they ask for (MI300X: 1) on this machine"],
        ),
        (PART, ["tasks that ask for a part of A100 get whole GPUs here: this machine's are not parted"]),
    ],
)
def test_what_is_given_otherwise_than_asked_for_is_said(asked: Resources, said: list[str]) -> None:
    assert bank().lines(asked) == said


def test_a_machine_without_any_says_so_once_and_lets_nobody_wait() -> None:
    none = Bank()
    assert none.lines(ONE) == ["tasks run without the accelerators they ask for (gpu: 1) on this machine"]
    assert none.fits(none.count(TWO))
    assert none.take("a", TWO, running) == ()


def test_an_action_waits_until_a_device_is_free_and_those_without_pass() -> None:
    async def go() -> list[str]:
        scheduler = Scheduler(8, 1 << 30, bank("0"))
        order = []
        first, plain = AsyncExitStack(), AsyncExitStack()
        await first.enter_async_context(scheduler.slot("first", 0, ONE))

        async def second(name: str) -> None:
            async with scheduler.slot(name, 0, ONE):
                order.append(f"{name} has {names(scheduler.bank.of(name))}")

        later = [asyncio.create_task(second("second")), asyncio.create_task(second("third"))]
        await asyncio.sleep(0)
        await plain.enter_async_context(scheduler.slot("plain", 0, Resources()))
        order.append("plain")
        later[1].cancel()
        await asyncio.wait([later[1]])
        await first.aclose()
        await later[0]
        await plain.aclose()
        assert scheduler.bank.of("first") == scheduler.bank.of("third") == ()
        return order

    assert asyncio.run(go()) == ["plain", "second has ['0']"]


def test_a_parent_keeps_its_device_and_shares_it_with_its_children_only_where_nobody_else_has_one() -> None:
    async def go() -> None:
        scheduler = Scheduler(8, 1 << 30, bank("0"))
        async with scheduler.slot("parent", 0, ONE):
            child = asyncio.create_task(scheduler.slot("child", 1, ONE).__aenter__())
            await asyncio.sleep(0)
            assert not child.done()
            scheduler.block("parent")
            await child
            assert scheduler.bank.of("child") == scheduler.bank.of("parent")
            assert scheduler.bank.shared("child")

    asyncio.run(go())


def test_who_asks_the_bank_itself_waits_too() -> None:
    async def go() -> list[str]:
        had = bank("0")
        had.take("action", ONE, running)
        waiting = asyncio.create_task(had.wait("replica1", ONE, running))
        await asyncio.sleep(0)
        assert not waiting.done()
        had.give("action")
        found = names(await waiting)
        async with had.held("replica1", ONE, running) as same:
            assert names(same) == found
        assert not had.fits(1), "what it had before the block it has after it"
        return found

    assert asyncio.run(go()) == ["0"]


def test_who_has_to_wait_is_told_of() -> None:
    had, told = bank("0"), []
    had.lacked = lambda: told.append("lacked")
    assert had.fits(1)
    had.take("a", ONE, waiting)
    assert had.fits(1)
    assert told == []
    had.give("a")
    had.take("replica1", ONE, running)
    assert not had.fits(1)
    assert told == ["lacked"]
