"""How an error looks to a person: one line what, then the details, then what to do."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.markup import escape

from ..kernel.errors import FlyteBuildError
from .console import room, stderr, wrapped
from .streams import silence

__all__ = ["nearer", "say", "show_bug", "show_error", "show_usage_error"]

_LABELS = {"error": "bold red", "hint": "bold cyan", "warning": "bold yellow"}


def nearer(text: str) -> str:
    """``text`` with the paths below the current folder, and those of the project that it is in, as one would type them
    here."""
    try:
        here = os.getcwd()
    except OSError:
        return text
    if len(here) > 1:
        text = _replaced(here, "", text)
    above = _project_above(here)
    return _replaced(above, f"{os.path.relpath(above, here)}/", text) if above else text


def _replaced(folder: str, typed: str, text: str) -> str:
    return re.sub(rf"(?<![\w/.~-]){re.escape(folder)}/", lambda _: typed, text)


def _project_above(here: str) -> str:
    """The nearest folder above ``here`` that is a project's; empty where there is none, or it is somebody's home."""
    folder = here
    while not any(os.path.exists(os.path.join(folder, mark)) for mark in ("pyproject.toml", ".git")):
        if folder == (folder := os.path.dirname(folder)):
            return ""
    return "" if folder in (here, "/", os.path.expanduser("~")) else folder


def say(out: Console, label: str, text: str) -> None:
    """Print ``text`` behind ``error``, ``warning`` or ``hint``, further lines below its beginning."""
    indent = len(label) + 2
    out.print(f"[{_LABELS[label]}]{label}:[/] {escape(wrapped(nearer(text), room(out), indent))}", soft_wrap=True)


@contextmanager
def _heard() -> Iterator[Console]:
    """Standard error; where it takes nothing, nobody hears of the error, and its exit code says all there is."""
    try:
        yield stderr()
    except OSError:
        silence(2)


def show_error(error: FlyteBuildError) -> None:
    """Print ``error`` on standard error."""
    with _heard() as out:
        _show(error, out)


def _show(error: FlyteBuildError, out: Console) -> None:
    say(out, "error", error.message)
    if error.detail:
        out.print()
        for line in error.detail.strip("\n").splitlines():
            # Of other programs, who were told of no width: where a line is too long for ours, it goes on below.
            within = len(line) - len(line.lstrip()) + 2
            told = line[: within - 2] + wrapped(nearer(line.lstrip()), room(out), within)
            out.print(f"  {escape(told)}", soft_wrap=True, style="dim")
        out.print()
    if error.hint:
        say(out, "hint", error.hint)


def show_usage_error(error: click.ClickException) -> None:
    """Print what click found wrong with the command line, as our own errors look."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    message = error.format_message().rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    with _heard() as out:
        say(out, "error", message[:1].lower() + message[1:])
        if context is not None:
            say(out, "hint", f"`{context.command_path} --help` shows what it takes")


def show_bug(error: Exception) -> None:
    """Print a traceback: this is our mistake, not the user's."""
    with _heard() as out:
        out.print("".join(traceback.format_exception(error)), soft_wrap=True, markup=False)
        say(out, "error", "this is a bug in flyte-build; please report it with the lines above")
