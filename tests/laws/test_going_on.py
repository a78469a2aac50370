"""Tests leave no thread that goes on working."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.support import going_on


@pytest.fixture
def spinner() -> Iterator[threading.Thread]:
    over = threading.Event()
    rounds = [0]

    def spin() -> None:
        while not over.is_set():
            rounds[0] += 1

    thread = threading.Thread(target=spin, name="spinner", daemon=True)
    thread.start()
    yield thread
    over.set()
    thread.join()


def test_a_thread_that_works_is_found(spinner: threading.Thread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(going_on, "MOST", 0.05)
    before = going_on.times()
    waits = threading.Event()
    while not (found := going_on.gone_on(before)):
        waits.wait(0.02)
    assert found == ["spinner"]


def test_one_that_waits_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="waits", daemon=True)
    thread.start()
    monkeypatch.setattr(going_on, "MOST", 0.0)
    try:
        before = going_on.times()
        assert thread.native_id in before
        assert "waits" not in going_on.gone_on(before)
    finally:
        over.set()
        thread.join()
