"""``logs --follow``: what actions print, as it comes, each block under the name of its action."""

from __future__ import annotations

import io

import click

from ..kernel.visible import visible
from .console import show_log

__all__ = ["follow_logs"]


def follow_logs(run: str, action: str | None, on: str | None) -> None:
    """Print until the run has ended."""
    from ..workbench.tailing import tail

    last = None
    for record, attempt, data in tail(run, action, on):
        if last != (record.name, attempt):
            last = record.name, attempt
            title = f"── {record.task or record.name} ({record.name}, attempt {attempt}) ──"
            click.secho(visible(title), bold=True)
        show_log(io.BytesIO(data))
