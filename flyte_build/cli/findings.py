"""Findings of the checks, as people read them and as GitHub's annotations. Draws; judges nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ..planning.checks.rules.findings import Finding
from .console import counted, room, wrapped

__all__ = ["github_annotations", "show_findings"]

_COLOURS = {"error": "bold red", "warning": "bold yellow", "note": "dim"}
_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def show_findings(findings: Sequence[Finding], out: Console, root: Path, *, notes: bool) -> None:
    """One paragraph a finding: place, what, and what to do; notes are only counted unless asked for."""
    shown = [f for f in findings if notes or f.severity != "note"]
    width = room(out)
    for f in shown:
        place = _place(f, root)
        out.print(
            f"[{_COLOURS[f.severity]}]{f.severity}:[/] {escape(wrapped(f'{place}: {f.message}', width, 2))}",
            soft_wrap=True,
        )
        if f.hint:
            out.print(f"  [cyan]{escape(wrapped(f.hint, width, 2))}[/]", soft_wrap=True)
    quiet = len(findings) - len(shown)
    if quiet:
        out.print(f"[dim]{counted(quiet, 'note')}: shown by `plan --check`[/]", soft_wrap=True)


def _place(f: Finding, root: Path) -> str:
    path = os.path.relpath(root / f.file)
    return f"{path}:{f.line}" if f.line else path


def github_annotations(findings: Sequence[Finding], root: Path) -> list[str]:
    """GitHub's workflow commands (``::error file=…,line=…,title=…::message``), paths relative to where one is."""
    lines = []
    for f in findings:
        path = os.path.relpath(root / f.file)
        fields = [f"file={_escaped(path, True)}", *([f"line={f.line}"] if f.line else [])]
        fields.append(f"title={_escaped(f.code, True)}")
        message = f"{f.message}\n{f.hint}" if f.hint else f.message
        lines.append(f"::{_COMMANDS[f.severity]} {','.join(fields)}::{_escaped(message, False)}")
    return lines


def _escaped(text: str, field: bool) -> str:
    """As the runner undoes it: ``%``, line ends, and in fields ``:`` and ``,`` too."""
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if field else text
