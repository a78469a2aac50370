"""Progress where nothing is drawn: what takes long says that it goes on, and how far it is."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flyte_build.cli import progress
from flyte_build.cli.progress import PlainReporter


class Lines:
    """A console that keeps what is printed, and tells when there is a line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.came = threading.Event()

    def print(self, text: str, **_: Any) -> None:
        self.lines.append(text)
        self.came.set()


def test_what_takes_long_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Lines()
    monkeypatch.setattr(progress, "stderr", lambda: out)
    monkeypatch.setattr(progress, "_FIRST", 0.0)
    monkeypatch.setattr(progress, "_NEXT", 600.0)
    with PlainReporter(quiet=False).work("assemble", 3):
        assert out.came.wait(60)
    assert out.lines[0] == "assemble …"
    quiet = Lines()
    monkeypatch.setattr(progress, "stderr", lambda: quiet)
    before = threading.active_count()
    with PlainReporter(quiet=True).work("assemble"):
        assert threading.active_count() <= before
    assert quiet.lines == []


@pytest.mark.parametrize(
    ("whole", "done", "unit", "said"),
    [
        (None, 0, "bytes", ""),
        (65_000_000, 12_345_678, "bytes", ": 12.3 MB of 65.0 MB"),
        (None, 12_345_678, "bytes", ": 12.3 MB"),
        (40, 12, "items", ": 12 of 40"),
    ],
)
def test_how_far_it_is(whole: int | None, done: int, unit: str, said: str) -> None:
    count = progress._Count(whole)
    count.advance(done)
    assert count.so_far(unit) == said
