"""Nobody but us writes to the terminal: what strangers name, answer or raise is shown and never obeyed."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import click
import pytest
from rich.table import Table

from flyte_build.cli import console, live, main, progress
from flyte_build.cli.errors import say, show_bug, show_error, show_usage_error
from flyte_build.cli.findings import github_annotations, show_findings
from flyte_build.cli.tables import Column, print_table
from flyte_build.kernel.errors import ArtifactError
from flyte_build.kernel.visible import coloured, visible
from flyte_build.planning.checks.rules.findings import Finding
from flyte_build.submit.action import Phase
from flyte_build.submit.journal import ActionRecord

EVIL = "a\x1b]0;owned\x07b\x1b[2J\x9b31m\x08\x7f\x0b\u202egpj\u2066\udc9b\u2028c"
OBEYED = set("\x1b\x07\x08\x0b\x7f\x9b\u202e\u2066\u2028\udc9b")


@pytest.fixture(params=["terminal", "pipe"])
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What both consoles write; our own colours are switched off, so that any control is a stranger's."""
    out = io.StringIO()
    for made in (console.stdout(), console.stderr()):
        assert type(made) is console._Quiet
    made = console._Quiet(
        file=out, force_terminal=request.param == "terminal", no_color=True, width=100, highlight=False, emoji=False
    )
    monkeypatch.setattr(console, "_console", lambda to_stderr, environment: made)
    return out


def harmless(screen: io.StringIO) -> str:
    # What we draw with ourselves: weights, the cursor, and drawing over a line.
    text = re.sub(r"\x1b\[([0-9;]*m|\?25[lh]|2K|1A)", "", screen.getvalue())
    assert text
    assert not OBEYED & set(text), ascii(text)
    text.encode()
    return text


def test_errors_hints_and_details(screen: io.StringIO) -> None:
    show_error(ArtifactError(f"layer {EVIL}: bad", hint=f"ask {EVIL}", detail=f"{EVIL}\n{EVIL}"))
    assert harmless(screen).count("\\x1b]0;owned") == 4


def test_warnings_notes_and_progress(screen: io.StringIO) -> None:
    for reporter in (progress.TerminalReporter(False), progress.PlainReporter(False)):
        reporter.warn(EVIL)
        reporter.note(EVIL)
        with reporter.work(EVIL, 3) as bar:
            bar.advance()
    harmless(screen)


def test_tables_and_anything_else_that_is_printed(screen: io.StringIO) -> None:
    for out in (console.stdout(), console.stderr()):
        print_table(out, (Column("name"), Column("more")), [(EVIL, EVIL)])
        out.print(EVIL)
        out.print(EVIL, markup=False, soft_wrap=True)
        table = Table(EVIL)
        table.add_row(EVIL)
        out.print(table)
        say(out, "hint", EVIL)
    harmless(screen)


def test_what_a_task_raises(screen: io.StringIO) -> None:
    record = ActionRecord.from_json(
        {
            "name": "a0",
            "parent": "",
            "group": EVIL,
            "task": EVIL,
            "environment": EVIL,
            "kind": "task",
            "phase": "failed",
            "attempt": 1,
            "queued": 1.0,
            "started": 1.0,
            "ended": 2.0,
            "error": {"code": EVIL, "message": EVIL, "kind": "user"},
        }
    )
    assert record.phase is Phase.FAILED
    console.stderr().print(live.action_tree([record], EVIL))
    view = live.RunView(EVIL).started()
    view.on_action(record)
    view.stop()
    harmless(screen)


def test_findings_and_annotations(screen: io.StringIO) -> None:
    finding = Finding("error", EVIL, EVIL, f"x{EVIL}.py", 1, EVIL, EVIL)
    show_findings([finding], console.stdout(), Path("/"), notes=True)
    (line,) = github_annotations([finding], Path("/"))
    console.stdout().print(line, markup=False, soft_wrap=True)
    harmless(screen)


def test_an_annotation_is_one_line() -> None:
    finding = Finding("error", "c", "said\n::error::owned\r::set-output name=x::y", "f.py", 1, "env", "h")
    (line,) = github_annotations([finding], Path.cwd())
    assert "\n" not in line
    assert "\r" not in line


def test_bugs_and_usage(screen: io.StringIO) -> None:
    try:
        raise ValueError(EVIL)
    except ValueError as e:
        show_bug(e)
    show_usage_error(click.UsageError(EVIL))
    assert main([EVIL]) == 2
    harmless(screen)


def test_documents_stay_documents(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click, "echo", lambda text, nl: screen.write(text))
    for print_ in (console.echo, lambda text: console.stdout().print(text, markup=False, soft_wrap=True)):
        screen.seek(0)
        screen.truncate()
        print_(json.dumps({"name": EVIL, "text": "ä\n\t日本"}, indent=2, ensure_ascii=False))
        assert json.loads(harmless(screen)) == {"name": EVIL, "text": "ä\n\t日本"}


def test_what_people_write_stays() -> None:
    for text in ("", "plain", "zwei\nZeilen\tund mehr", "日本語 ä é ñ", "שלום", "👩‍💻 a\u200bb", "a\u00a0b"):
        assert visible(text) == text
    assert visible("\x1b[2J\r\x9b") == "\\x1b[2J\\x0d\\u009b"
    assert coloured("\x1b[31mred\x1b[0m\r\x1b[2J") == "\x1b[31mred\x1b[0m\r\\x1b[2J"


@pytest.mark.parametrize("terminal", [True, False])
def test_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    class Out(io.TextIOWrapper):
        def isatty(self) -> bool:
            return terminal

    held = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Out(held))
    said = b"\x1b[32mgreen\x1b[0m 10%\r20%\n\x1b]0;owned\x07\xff\n"
    console.show_log(io.BytesIO(said))
    if terminal:
        assert held.getvalue() == "\x1b[32mgreen\x1b[0m 10%\r20%\n\\x1b]0;owned\\x07\ufffd\n\x1b[0m".encode()
    else:
        assert held.getvalue() == said
