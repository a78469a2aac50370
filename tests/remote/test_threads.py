"""Many at once: what failed first is what is raised, and an interrupt is an interrupt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from flyte_build.kernel.waiting import wait_for
from flyte_build.remote.threads import Stopped, each


def waiting(stop: threading.Event, started: threading.Barrier) -> None:
    """What a transfer does that is called off."""
    started.wait(10)
    assert stop.wait(10)
    raise Stopped


def test_an_interrupt_is_not_hidden_by_what_it_called_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes to the main thread, while the others are in the middle of their transfers."""
    stop, started = threading.Event(), threading.Barrier(4)
    called_off: list[bool] = []

    def one(_: int) -> None:
        started.wait(10)
        called_off.append(stop.wait(10))
        raise Stopped

    def interrupt() -> None:
        started.wait(10)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def waited_for(futures: list[Future[None]]) -> None:
        started.wait(10)
        wait_for(futures)

    monkeypatch.setattr("flyte_build.remote.threads.wait_for", waited_for)
    killer = threading.Thread(target=interrupt)
    killer.start()
    with pytest.raises(KeyboardInterrupt):
        each(one, [1, 2], stop)
    killer.join()
    assert called_off == [True, True]


def test_an_interrupt_before_all_have_begun_calls_off_those_that_have() -> None:
    stop, begun = threading.Event(), threading.Barrier(2)
    called_off: list[bool] = []

    class Items(list[int]):
        def __iter__(self) -> Iterator[int]:
            yield 1
            begun.wait(10)
            raise KeyboardInterrupt

    def one(_: int) -> None:
        begun.wait(10)
        called_off.append(stop.wait(10))

    with pytest.raises(KeyboardInterrupt):
        each(one, Items([1, 2]), stop)
    assert called_off == [True]


def test_what_failed_is_raised_and_not_what_was_called_off() -> None:
    stop, started = threading.Event(), threading.Barrier(2)

    def one(name: str) -> None:
        if name == "bad":
            started.wait(10)
            raise ValueError(name)
        waiting(stop, started)

    with pytest.raises(ValueError, match="bad"):
        each(one, ["good", "bad"], stop)
    assert stop.is_set()
