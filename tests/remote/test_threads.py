"""Many at once: what failed first is what is raised, and an interrupt is an interrupt."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from flyte_build.remote.threads import Stopped, each


def waiting(stop: threading.Event, started: threading.Barrier) -> None:
    """What a transfer does that is called off."""
    started.wait(10)
    assert stop.wait(10)
    raise Stopped


def test_an_interrupt_is_not_hidden_by_what_it_called_off() -> None:
    """Ctrl-C comes to the main thread, while the others are in the middle of their transfers."""
    stop, started = threading.Event(), threading.Barrier(3)

    def interrupt() -> None:
        started.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    killer = threading.Thread(target=interrupt)
    killer.start()
    with pytest.raises(KeyboardInterrupt):
        each(lambda _: waiting(stop, started), [1, 2], stop)
    killer.join()


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
