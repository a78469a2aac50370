"""How an error looks to a person: one line what, then the details, then what to do."""

from __future__ import annotations

import traceback

from rich.markup import escape

from ..errors import FlyteBuildError
from .console import stderr

__all__ = ["show_bug", "show_error"]


def show_error(error: FlyteBuildError) -> None:
    """Print ``error`` on standard error."""
    out = stderr()
    out.print(f"[bold red]error:[/] {escape(error.message)}", highlight=False, soft_wrap=True)
    if error.detail:
        out.print()
        for line in error.detail.splitlines():
            out.print(f"  {escape(line)}", highlight=False, soft_wrap=True, style="dim")
        out.print()
    if error.hint:
        out.print(f"[bold cyan]hint:[/] {escape(error.hint)}", highlight=False, soft_wrap=True)


def show_bug(error: Exception) -> None:
    """Print a traceback: this is our mistake, not the user's."""
    out = stderr()
    out.print("".join(traceback.format_exception(error)), highlight=False, soft_wrap=True, markup=False)
    out.print(
        "[bold red]error:[/] this is a bug in flyte-build; please report it with the lines above", highlight=False
    )
