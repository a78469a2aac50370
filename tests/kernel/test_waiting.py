"""Work beside: its result or its error, in a thread that ends with the process."""

from __future__ import annotations

import threading

import pytest

from flyte_build.kernel.waiting import beside, wait_for


def test_what_it_gives_and_what_it_raises() -> None:
    went = threading.Event()
    daemons = []

    def work() -> int:
        daemons.append(threading.current_thread().daemon)
        went.wait()
        return 7

    one = beside(work)
    assert not one.done()
    went.set()
    wait_for([one])
    assert (one.result(), daemons) == (7, [True])
    broken = beside(lambda: 1 // 0)
    wait_for([broken])
    with pytest.raises(ZeroDivisionError):
        broken.result()
