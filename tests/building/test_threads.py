"""A build's threads: as many as were asked for, in order, and nothing is begun once they are to end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from flyte_build.building.threads import Threads


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_at_a_time_than_asked(most: int) -> None:
    threads, done = Threads(most), SimpleQueue[int]()
    guard, running, seen = threading.Lock(), 0, 0
    met = threading.Barrier(most)

    def work(number: int) -> None:
        nonlocal running, seen
        with guard:
            running += 1
            seen = max(seen, running)
        if number < most:
            met.wait(30)  # all of them at one time
        with guard:
            running -= 1
        done.put(number)

    for number in range(20):
        threads.submit(lambda number=number: work(number))  # type: ignore[misc]
    found = [done.get(timeout=30) for _ in range(20)]
    threads.close()
    assert seen == most
    assert sorted(found) == list(range(20))
    assert most > 1 or found == sorted(found)


def test_what_was_not_begun_is_left_out() -> None:
    threads, begun, go = Threads(1), threading.Event(), threading.Event()
    found: list[str] = []

    class Telling(SimpleQueue[Callable[[], None] | None]):
        """The first goes on once the end was told, which is after the second was taken out."""

        def put(self, item: Callable[[], None] | None, block: bool = True, timeout: float | None = None) -> None:
            super().put(item)
            if item is None:
                go.set()

    def first() -> None:
        begun.set()
        assert go.wait(30)
        found.append("first")

    threads._given = Telling()
    threads.submit(first)
    threads.submit(lambda: found.append("second"))
    assert begun.wait(30)
    threads.close()
    assert found == ["first"]
