"""A run as people see it: the tree of its actions, the lines of a log, and progress."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from flyte_build.cli.live import RunView, action_tree
from flyte_build.cli.progress import PlainReporter, make_reporter
from flyte_build.submit.action import ErrorInfo, Phase
from flyte_build.submit.journal import ActionRecord, Attempt

BOOM = ErrorInfo("ValueError", "Traceback (most recent call last):\n  …\nValueError: 57 cannot be squared")


def record(name: str, task: str = "low.square", **more: object) -> ActionRecord:
    facts: dict[str, object] = {"parent": "a0", "environment": "low", "queued": 1.0, "phase": Phase.QUEUED} | more
    if facts["phase"] is not Phase.QUEUED:
        facts = {"started": 10.0, "attempt": 1} | facts
    if isinstance(facts["phase"], Phase) and facts["phase"].terminal:
        facts = {"ended": 11.5} | facts
    return ActionRecord(name, task=task, **facts)  # type: ignore[arg-type]


ROOT = record("a0", "top.main", parent="", environment="top", phase=Phase.RUNNING, started=time.time())


def drawn(*records: ActionRecord, width: int = 80) -> list[str]:
    console = Console(width=width, color_system=None, force_terminal=True, highlight=False)
    with console.capture() as got:
        console.print(action_tree(records, "r1 top.main"))
    return [line.rstrip() for line in got.get().splitlines()]


def test_the_tree_has_parents_groups_and_facts() -> None:
    lines = drawn(
        ROOT,
        record("b", queued=2.0, phase=Phase.SUCCEEDED),
        record("c", queued=3.0, phase=Phase.FAILED, attempt=3, error=BOOM),
        record("d", "low.load", queued=4.0, group="loading", phase=Phase.SUCCEEDED, source="cache"),
        record("e", "low.load", queued=5.0, group="loading"),
        record("f", "low.leaf", queued=6.0, parent="b", phase=Phase.ABORTED, error=ErrorInfo("Aborted", "it was")),
        record("g", "approve", queued=7.0, kind="condition", environment="", phase=Phase.PAUSED, group="loading"),
    )
    assert lines[0] == "r1 top.main"
    assert re.fullmatch(r"└── ▶ main  top  \d.* m?s", lines[1])
    assert lines[2:-1] == [
        "    ├── ✓ square  low  1.5 s",
        "    │   └── ■ leaf  low  1.5 s  aborted",
        "    ├── ✗ square  low  1.5 s  attempt 3  ValueError: 57 cannot be squared",
        "    └── group loading  1/3",
        "        ├── ✓ load  low  cached",
        "        ├── · load  low",
    ]
    assert lines[-1].startswith("        └── ‖ approve  condition  ")


def test_the_tree_has_what_tasks_say_of_themselves_and_how_each_attempt_went() -> None:
    tries = (Attempt(1, 5.0, 6.25, Phase.FAILED, "ValueError: no"), Attempt(2, 10.0, 11.5, Phase.SUCCEEDED))
    more = {"phase": Phase.SUCCEEDED, "queue": "slow", "interruptible": True, "short_name": "quadrat"}
    records = [record("b", attempt=2, attempts=tries, **more), record("c", queued=2.0, phase=Phase.SUCCEEDED)]
    console = Console(width=120, color_system=None, force_terminal=True, highlight=False)
    with console.capture() as got:
        console.print(action_tree([ROOT, *records], "r1", docs={"low.square": "Squares it.\n\nSlowly."}))
    assert [line.strip("│├└─ ") for line in got.get().splitlines()[2:]] == [
        "✓ quadrat  square  low  1.5 s  attempt 2 (✗ 1.2 s, ✓ 1.5 s)  queue slow  interruptible  Squares it.",
        "✓ square  low  1.5 s",
    ]


def test_of_a_map_over_many_only_the_telling_ones_are_listed() -> None:
    done = [record(f"s{i}", queued=2.0 + i, group="squares", phase=Phase.SUCCEEDED) for i in range(60)]
    failed = [record("x", queued=70.0, group="squares", phase=Phase.FAILED, error=BOOM)]
    running = [record(f"r{i}", queued=80.0 + i, group="squares", phase=Phase.RUNNING) for i in range(3)]
    waiting = [record(f"q{i}", queued=90.0 + i, group="squares") for i in range(36)]
    lines = drawn(ROOT, *done, *failed, *running, *waiting)
    assert len(lines) == 2 + 1 + 4 + 2
    assert lines[2] == "    └── group squares  61/100"
    assert lines[3].endswith("✗ square  low  1.5 s  ValueError: 57 cannot be squared")
    assert [line.strip("│├└─ ") for line in lines[-2:]] == ["✓ 60 × square  low succeeded", "· 36 × square  low queued"]
    every = drawn(ROOT, *[record(f"f{i}", phase=Phase.FAILED, error=BOOM) for i in range(500)])
    assert len(every) == 2 + 12 + 1, "also of failures only so many"


def test_a_line_of_the_tree_is_one_line() -> None:
    error = ErrorInfo("RuntimeError", "a reason " * 40)
    lines = drawn(ROOT, record("b", phase=Phase.FAILED, error=error), width=60)
    assert len(lines) == 3
    assert len(lines[2]) == 60
    assert lines[2].endswith("…")


def test_markup_in_names_and_messages_is_text() -> None:
    (line,) = drawn(record("b", "low.[red]x", parent="", phase=Phase.FAILED, error=ErrorInfo("E", "[/bold]")))[1:]
    assert line == "└── ✗ [red]x  low  1.5 s  E: [/bold]"


def test_a_log_has_a_line_a_change(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # colours do not make a pipe a terminal
    monkeypatch.setenv("NO_COLOR", "1")
    view = RunView("r1 top.main").started()
    again = record("b", phase=Phase.RUNNING, attempt=2, error=BOOM)
    for one in (
        record("b"),
        record("b", phase=Phase.RUNNING),
        record("b", phase=Phase.RUNNING, report="/somewhere"),
        again,
        again.replace(phase=Phase.SUCCEEDED, ended=13.0, error=None),
        record("c", phase=Phase.SUCCEEDED, source="resume"),
    ):
        view.on_action(one)
    view.stop()
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().err)
    lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in said.splitlines()]
    assert lines == [
        "r1 top.main",
        "▶ low.square  b",
        "↻ low.square  b  attempt 1 failed  ValueError: 57 cannot be squared",
        "▶ low.square  b  attempt 2",
        "✓ low.square  b  3.0 s  attempt 2",
        "✓ low.square  c  reused",
    ]
    assert "\x1b[?25l" not in said, "nothing is drawn over"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    view = RunView("r1 top.main", quiet=True).started()
    view.on_action(record("b", phase=Phase.RUNNING))
    view.stop()
    with make_reporter(quiet=True).work("assemble", 3) as work:
        work.advance()
        time.sleep(0.25)
    make_reporter(quiet=True).note("a decision")
    assert capsys.readouterr().err == ""
    reporter = make_reporter(quiet=True)
    reporter.warn("mind [this]")
    reporter.warn("mind [this]")
    assert capsys.readouterr().err == "warning: mind [this]\n", "warnings are always said, once"


def test_piped_progress_is_a_line_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = make_reporter()
    assert isinstance(reporter, PlainReporter)
    with reporter.work("fetch [x]", 3000, unit="bytes") as work:
        threads = [threading.Thread(target=work.advance, args=(1000,)) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        time.sleep(0.21)
    with suppress(ValueError), reporter.work("assemble", 2):
        time.sleep(0.21)
        raise ValueError
    assert re.fullmatch(r"fetch \[x\] 3\.0 kB in 2\d\d ms\n", capsys.readouterr().err), "what failed was not done"


SCRIPT = """
import time
from flyte_build.cli.live import RunView
from flyte_build.cli.progress import make_reporter
from tests.cli.test_live import BOOM, ROOT, record
from flyte_build.submit.action import Phase
reporter = make_reporter()
with reporter.work("a rather long title of what is being done on debian bookworm", 3000, unit="bytes") as work:
    for _ in range(3):
        work.advance(1000)
        time.sleep(0.25)
    reporter.note("a note between")
view = RunView("r1 top.main").started()
view.on_action(ROOT)
for i in range(3):
    view.on_action(record(f"s{i}", queued=i, phase=Phase.RUNNING))
    time.sleep(0.2)
view.warn("a limit is not kept")
view.on_action(record("s0", queued=0, phase=Phase.FAILED, error=BOOM))
view.stop()
"""


def on_a_terminal(columns: int) -> str:
    """What the script writes to a real terminal of that many columns."""
    master, slave = pty.openpty()
    environ = {**os.environ, "COLUMNS": str(columns), "LINES": "30", "TERM": "xterm", "NO_COLOR": "1"}
    root = Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=slave, stdout=slave, stderr=slave, env=environ, cwd=root
    )
    os.close(slave)
    said = b""
    try:
        while chunk := os.read(master, 65536):
            said += chunk
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(master)
    assert child.wait(30) == 0, said.decode()
    return said.decode()


def test_on_a_terminal_progress_and_tree_are_drawn_over() -> None:
    said = on_a_terminal(80)
    assert "\x1b[?25l" in said
    assert said.count("\x1b[?25h") == said.count("\x1b[?25l"), "the cursor is given back"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", plain)]
    assert "a note between" in lines
    assert "warning: a limit is not kept" in lines
    assert max(map(len, lines)) <= 80
    assert any("kB" in line and "━" in line and "…" in line for line in lines), "the title gives way, not the numbers"
    end = lines[len(lines) - lines[::-1].index("r1 top.main") - 1 :]
    assert "✗ square  low  1.5 s  ValueError: 57 cannot be squared" in end[2], "the last picture stays"
