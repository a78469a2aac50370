"""``flyte-build doctor [FILE]``: is everything here that is needed, and if not, what to do."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..console import echo
from ..options import file_argument, json_option, project_options
from ..waits import telling

if TYPE_CHECKING:
    from ...workbench.checkup import Line

__all__ = ["doctor"]

_MARKS = {"good": "[green]✓[/]", "note": "[yellow]•[/]", "bad": "[red]✗[/]"}


@click.command()
@file_argument
@project_options
@json_option
def doctor(file: Path | None, root: Path | None, lockfiles: Path | None, as_json: bool) -> None:
    """Look at this machine, at the places that bytes come from, and at a project: what is there, what is not, and the
    way out of each.

    Nothing is changed. `✗` is what commands will stop at, `•` what not everybody needs. Exits 0 where nothing is `✗`,
    else with the code of the first.

    \b
    flyte-build doctor
    flyte-build doctor main.py --json
    """
    from ...workbench.checkup import check_up, worst

    lines: list[Line] = []
    found, area = check_up(file, root, lockfiles), ""
    while True:
        # What the user's file prints when it is imported is no result.
        with telling("looking", quiet=as_json), contextlib.redirect_stdout(sys.stderr):
            line = next(found, None)
        if line is None:
            break
        lines.append(line)
        if not as_json:
            area = _show(line, area)
    if as_json:
        echo(json.dumps({"schema": 1, "lines": [_to_json(line) for line in lines]}, indent=2))
    elif not worst(lines):
        echo("\nnothing stands in the way")
    click.get_current_context().exit(worst(lines))


def _show(line: Line, before: str) -> str:
    from rich.markup import escape

    from ..console import room, stdout, wrapped
    from ..errors import nearer

    out = stdout()
    width = room(out)
    if line.area != before:
        out.print(f"[bold]{escape(line.area)}[/]")
    said = wrapped(nearer(f"{line.name}: {line.said}"), width, 4)
    out.print(f"  {_MARKS[line.state]} {escape(said)}", soft_wrap=True)
    if line.way_out is not None:
        out.print(f"    [dim]→ {escape(wrapped(nearer(line.way_out), width, 6))}[/]", soft_wrap=True)
    return line.area


def _to_json(line: Line) -> dict[str, object]:
    return {
        "area": line.area,
        "name": line.name,
        "state": line.state,
        "said": line.said,
        "way_out": line.way_out,
        "code": line.code,
    }
