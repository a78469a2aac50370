"""What people see: tables that fit any width, whole lines where a program reads, colours only where they are wanted."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from rich.console import Console

from flyte_build.cli import main
from flyte_build.cli.app import cli
from flyte_build.cli.console import counted, duration, size, wrapped
from flyte_build.cli.errors import nearer
from flyte_build.cli.tables import Column, print_table, short_digest

from ..support.offline import Offline

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture
def terminal(offline: Offline) -> Offline:
    """A locked project, seen on a terminal; ``COLUMNS`` says how wide."""
    offline.locked()
    offline.patch.setenv("FORCE_COLOR", "1")
    offline.patch.setenv("TERM", "xterm-256color")
    return offline


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("width", [40, 120, *(pytest.param(n, marks=pytest.mark.slow) for n in (60, 80, 200))])
def test_no_line_is_wider_than_the_terminal(terminal: Offline, width: int) -> None:
    terminal.patch.setenv("COLUMNS", str(width))
    shown = []
    for command in (["plan", "flow.py"], ["plan", "flow.py", "--layers"], ["build", "flow.py"], ["lock", "flow.py"]):
        done = terminal.ok(*command)
        shown.append(plain(done.out))
        # Paths are not broken: whoever copies one gets all of it.
        lines = [x for x in plain(done.out + done.err).splitlines() if str(terminal.home) not in x]
        assert [x for x in lines if len(x) > width] == []
    rows = [line for line in shown[2].splitlines() if line.startswith(("low ", "top "))]
    assert len(rows) == 2
    assert all((DIGEST[:19].count(":") and re.search(r"sha256:[0-9a-f]{12}", row)) for row in rows)
    assert bool(re.search(r"sha256:[0-9a-f]{64}", shown[2])) is (width >= 120), "whole where there is room"


def test_at_80_columns_an_image_is_one_line(terminal: Offline) -> None:
    terminal.patch.setenv("COLUMNS", "80")
    out = plain(terminal.ok("plan", "flow.py").out).splitlines()
    assert [line.split()[0] for line in out[:3]] == ["environment", "low", "top"]
    assert out[1].endswith("never built here")
    terminal.ok("build", "flow.py")
    out = plain(terminal.ok("plan", "flow.py").out).splitlines()
    assert out[2].endswith("same derivation")
    assert len(out) == 4


def test_piped_tables_are_whole(offline: Offline) -> None:
    offline.locked()
    offline.patch.setenv("COLUMNS", "20")
    for command in (["plan", "flow.py"], ["build", "flow.py"]):
        out = offline.ok(*command).out
        assert len(re.findall(r"^(?:low|top) .*sha256:[0-9a-f]{64}", out, re.M)) == 2
        assert not re.search(r"[ \t]$", out, re.M), "nothing trails"


def test_no_color(terminal: Offline) -> None:
    terminal.patch.delenv("NO_COLOR")
    assert "\x1b[33mbuild" in terminal.ok("plan", "flow.py").out
    terminal.patch.setenv("NO_COLOR", "1")
    out = terminal.ok("plan", "flow.py").out
    assert not re.search(r"\x1b\[[0-9;]*3\d", out), "weight, but no colour"
    terminal.patch.delenv("FORCE_COLOR")
    assert "\x1b" not in terminal.ok("plan", "flow.py").out


def test_errors_wrap_at_words_on_a_terminal_only(terminal: Offline) -> None:
    terminal.patch.setenv("COLUMNS", "40")
    err = plain(terminal("plan", "flow.py", "nothing_like_it").err)
    assert err == "error: flow.py: no task\n       `nothing_like_it`; there are:\n       do_low, main\n"
    terminal.patch.delenv("FORCE_COLOR")
    err = terminal("plan", "flow.py", "nothing_like_it").err
    assert err == "error: flow.py: no task `nothing_like_it`; there are: do_low, main\n"


# -- the pieces ------------------------------------------------------------------------------------


def table(width: int | None, rows: list[tuple[str, ...]], notes: list[str]) -> list[str]:
    console = Console(force_terminal=width is not None, width=width or 80, color_system=None, highlight=False)
    columns = (Column("name"), Column("digest", shorten=short_digest), Column("size", right=True, drop=1))
    with console.capture() as got:
        print_table(console, columns, rows, notes=notes, note_title="why")
    return got.get().splitlines()


def test_a_table_gives_way_step_by_step() -> None:
    rows = [("one", DIGEST, "1 kB"), ("two", DIGEST, "20 kB")]
    notes = ["new", "a longer reason"]
    assert table(None, rows, notes) == [
        f"name  digest{' ' * 65}  size    why".replace("  size    why", "   size  why"),
        f"one   {DIGEST}   1 kB  new",
        f"two   {DIGEST}  20 kB  a longer reason",
    ]
    assert table(60, rows, notes) == [
        "name  digest                size  why",
        "one   sha256:0123456789ab   1 kB  new",
        "two   sha256:0123456789ab  20 kB  a longer reason",
    ]
    assert table(45, rows, notes) == [
        "name  digest               why",
        "one   sha256:0123456789ab  new",
        "two   sha256:0123456789ab  a longer reason",
    ]
    assert table(30, rows, notes) == [
        "name  digest",
        "one   sha256:0123456789ab  new",
        "two   sha256:0123456789ab",
        "  a longer reason",
    ]


def test_markup_in_what_is_shown_is_text() -> None:
    assert table(None, [("[bold]x", DIGEST, r"\[red]")], ["[/] broken"])[1].endswith("[red]  [/] broken")


@pytest.mark.parametrize(
    ("text", "width", "indent", "lines"),
    [
        ("one two three", None, 0, ["one two three"]),
        ("one two three four five", 20, 0, ["one two three four", "five"]),
        ("one two three four five six", 26, 6, ["one two three four", "      five six"]),
        ("see /a/very/long/path/that/does/not/fit", 20, 0, ["see", "/a/very/long/path/that/does/not/fit"]),
        ("two lines:\n  and the second one is long", 20, 0, ["two lines:", "  and the second one", "    is long"]),
        ("", 20, 0, [""]),
    ],
)
def test_wrapping(text: str, width: int | None, indent: int, lines: list[str]) -> None:
    assert wrapped(text, width, indent).split("\n") == lines


def test_spelling() -> None:
    assert [size(n) for n in (None, 0, 999, 1000, 12_345_678, 5 * 10**12)] == [
        "–", "0 B", "999 B", "1.0 kB", "12.3 MB", "5000.0 GB",
    ]  # fmt: skip
    assert [duration(s) for s in (0, 0.85, 0.9999, 3.25, 59.99, 125, 3599.9, 3720)] == [
        "0 ms", "850 ms", "1.0 s", "3.2 s", "1 min 00 s", "2 min 05 s", "1 h 00 min", "1 h 02 min",
    ]  # fmt: skip
    assert [counted(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


def test_paths_are_shown_from_where_one_is(offline: Offline) -> None:
    here = str(offline.project)
    assert nearer(f"{here}/a.py: is wrong, see `{here}/b`") == "a.py: is wrong, see `b`"
    assert nearer(f"/other{here}/a.py file://{here}/b") == f"/other{here}/a.py file://{here}/b"
    offline.patch.chdir("/")
    assert nearer("/etc/passwd") == "/etc/passwd"


def test_a_project_s_paths_are_nearer_from_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "flows" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "flows")
    text = f"{tmp_path}/lockfiles/a.json, {tmp_path}/flows/a.py, {tmp_path}-other/x"
    assert nearer(text) == f"../lockfiles/a.json, a.py, {tmp_path}-other/x"
    monkeypatch.chdir(tmp_path / "flows" / "deep")
    assert nearer(text) == f"../../lockfiles/a.json, ../../flows/a.py, {tmp_path}-other/x"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert nearer(text) == text, "a home is nobody's project"


# -- help ------------------------------------------------------------------------------------------


def commands(group: click.Group = cli, *above: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        found.append((*above, name))
        if isinstance(command, click.Group):
            found += commands(command, *above, name)
    return found


@pytest.mark.parametrize("path", [(), *commands()], ids=" ".join)
def test_every_command_explains_itself(capfd: pytest.CaptureFixture[str], path: tuple[str, ...]) -> None:
    for flag in ("--help", "-h"):
        code = main([*path, flag])
        said = capfd.readouterr()
        assert code == 0, said.err
        assert said.out.startswith(f"Usage: flyte-build {' '.join(path)}".rstrip() + " ")
        assert said.err == ""
    assert max(map(len, said.out.splitlines())) <= 80
    options = [line for line in said.out.partition("Options:")[2].splitlines() if line.startswith("  -")]
    assert all(re.search(r"\S {2,}\S|^  -\S+( \S+)*$", line) for line in options)


def test_help_of_a_task_comes_from_its_signature(offline: Offline) -> None:
    out = offline.ok("run", "flow.py", "main", "--help").out
    assert "Usage: flyte-build run flow.py main [--ARG VALUE]...\n" in out
    assert "  Do what top does.\n" in out
    assert re.search(r"^  --x INTEGER +\[required\]$", out, re.M)
    assert re.search(r"^  --words JSON list\[str\] +default: none$", out, re.M)
    assert out.count("required") == 1


def test_run_without_a_task_lists_them(offline: Offline) -> None:
    done = offline("run", "flow.py")
    assert done.code == 2
    assert [line.split() for line in done.out.splitlines()] == [
        ["task", "environment", "takes"],
        ["do_low", "low", "x", "[words]", "Do", "what", "low", "does."],
        ["main", "top", "x", "[words]", "Do", "what", "top", "does."],
    ]
    assert "hint: `flyte-build run flow.py main --help` shows what it takes\n" in done.err
    assert offline.ok("run", "flow.py", "--help").out == done.out


def test_version_and_nothing_at_all(offline: Offline) -> None:
    assert offline.ok("--version").out.startswith("flyte-build, version ")
    done = offline()
    assert done.code == 2
    assert "Usage: flyte-build [OPTIONS] COMMAND [ARGS]..." in done.err
