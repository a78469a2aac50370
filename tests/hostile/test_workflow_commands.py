"""Where GitHub's runner reads along, no stranger's line is a command to it; elsewhere everything stays as it is."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from rich.console import Console

from flyte_build.cli import console, streams
from flyte_build.cli.errors import show_error
from flyte_build.kernel.errors import ArtifactError
from flyte_build.kernel.visible import inert

COMMANDS = [
    "::set-env name=PATH::/evil",
    "  \t::add-mask::x",
    "\u00a0\u3000::warning::x",
    "\u200d::error::x",
    ":\u00ad:error::x",
    "said\n::error::x",
    "10%\r::error::x",
    "text ##[set-output name=x]y",
    "##\u200b[error]x",
    "#\u200d#[error]x",
]


def obeyed(text: str) -> bool:
    """As the runner reads (ActionCommand.cs): `::` after blanks, else `##[` anywhere; what takes no room is nothing."""
    plain = "".join(c for c in text if c not in "\u200b\u200d\u00ad")
    lines = plain.replace("\r", "\n").split("\n")
    return any(line.lstrip().startswith("::") or "##[" in line for line in lines)


@pytest.mark.parametrize("text", COMMANDS)
def test_a_command_is_written_out(text: str) -> None:
    assert obeyed(text)
    assert not obeyed(inert(text))
    assert inert(inert(text)) == inert(text)
    assert len(inert(text)) == len(text) + 5


def test_what_is_no_command_stays() -> None:
    for text in ("", "a::b", "std::vector", "error: x::y", "# # [", "## [x]", "日本語\n\tsaid: x", "x\n: :y"):
        assert inert(text) == text
    assert inert("::error::x") == "\\u003a:error::x"
    assert inert("a ##[x]") == "a ##\\u005bx]"
    assert json.loads(inert(json.dumps({"a": "##[group]"}))) == {"a": "##[group]"}


@pytest.mark.parametrize("there", [True, False])
def test_whatever_prints(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))  # what is put in its place is taken away again
    monkeypatch.setenv("GITHUB_ACTIONS", "true" if there else "")
    streams.guard()
    streams.guard()  # once is enough
    print("::error::print")
    click.echo("::error::click")
    console.echo("::error::echo")
    console.stdout().print("::error::rich", "##[x]", markup=False, soft_wrap=True)
    with console.stdout().capture() as text:
        console.stdout().print("::error::captured", markup=False)
    sys.stdout.write(text.get())
    show_error(ArtifactError("layer\n::error::said", hint="::error::hint", detail="::error::detail\n##[x]"))
    out, err = capsys.readouterr()
    assert obeyed(out) is obeyed(err) is not there
    assert out.count("error::") == 5
    streams.command("::error title=x::ours")
    assert capsys.readouterr().out == "::error title=x::ours\n"


def test_a_guarded_stream_is_still_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setattr(sys, "stdout", inner)
    streams.guard()
    assert (sys.stdout.encoding, sys.stdout.isatty(), sys.stdout.write("::x")) == ("utf-8", False, 3)
    assert Console(width=40).encoding == "utf-8"


def test_a_tasks_log(monkeypatch: pytest.MonkeyPatch) -> None:
    held = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(held))
    long = b"x" * ((1 << 16) - 1)
    said = b"\x1b[32mfine\x1b[0m\r::error::a\n\xff::b\n" + long + b"##[error]c\n" + long + b"x::error::d"
    console.show_log(io.BytesIO(said))
    assert held.getvalue() == said
    held.seek(0)
    held.truncate()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    console.show_log(io.BytesIO(said))
    found = held.getvalue().decode("utf-8", "replace")
    assert not obeyed(found)
    assert held.getvalue().startswith(b"\x1b[32mfine\x1b[0m\r\\u003a:error::a\n")


def test_the_program_guards_what_it_prints(tmp_path: Path) -> None:
    for there in (True, False):
        environment = {k: v for k, v in os.environ.items() if k != "GITHUB_ACTIONS"}
        environment |= {"GITHUB_ACTIONS": "true"} if there else {}
        command = [sys.executable, "-m", "flyte_build", "plan\n::error::x"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        assert done.returncode == 2
        assert obeyed(done.stderr) is not there
