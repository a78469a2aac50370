"""Progress where nothing is drawn: what takes long says that it goes on, and how far it is."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from rich.console import Console

from flyte_build.cli import progress
from flyte_build.cli.progress import PlainReporter, TerminalReporter


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


class Clock:
    """Seconds that go by as the test says."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("kind", [PlainReporter, TerminalReporter])
def test_no_two_lines_tell_one_time(monkeypatch: pytest.MonkeyPatch, kind: type[PlainReporter]) -> None:
    clock = Clock()
    console = Console(file=io.StringIO(), width=100)
    monkeypatch.setattr(progress, "stderr", lambda: console)
    monkeypatch.setattr(progress, "time", clock)
    reporter = kind(quiet=False)
    with reporter.work("unpack and check images", 1):
        with reporter.work("unpack the image of low", 5, unit="bytes") as work:
            clock.now += 2
            work.advance(5)
        clock.now += 0.1
    with reporter.work("check and more"):
        with reporter.work("check"):
            clock.now += 1
        clock.now += 3
    with reporter.work("unpack", 5, unit="bytes") as work:
        work.advance(5)
        with reporter.work("within"):
            clock.now += 1
    assert [line.removeprefix("✓ ") for line in console.file.getvalue().splitlines() if line] == [  # type: ignore[attr-defined]
        "unpack the image of low 5 B in 2.0 s",
        "check in 1.0 s",
        "check and more in 4.0 s",
        "within in 1.0 s",
        "unpack 5 B in 1.0 s",
    ]
