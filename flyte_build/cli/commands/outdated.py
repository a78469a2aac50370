"""``flyte-build outdated [FILE]``: what ``lock --upgrade`` would move today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..console import echo
from ..options import env_option, file_argument, json_option, opened, project_options, quiet_option
from .diff import DIFFERENCES_FOUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...workbench.questions import Move

__all__ = ["outdated", "show_moves"]


@click.command()
@file_argument
@env_option
@click.option(
    "--exclude-newer",
    metavar="DATE",
    help="Look only at what is older than this (a date, or `7 days`).",
)
@click.option("--exit-code", is_flag=True, help="Exit 13 where something would move, for scripts.")
@project_options
@json_option
@quiet_option
def outdated(
    file: Path | None,
    env: tuple[str, ...],
    exclude_newer: str | None,
    exit_code: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show what is newer than the locks: wheels, Debian packages and base images that `lock --upgrade` would move.

    Everything is chosen anew as `lock --upgrade` does, so a version shows only if the requirements allow it; no file is
    written. Debian packages that come from its security archive are marked.

    \b
    flyte-build outdated
    flyte-build lock --upgrade-package NAME      takes one of them
    """
    bench = opened(file, root, lockfiles, quiet=quiet or as_json)
    found = bench.outdated(env=env, exclude_newer=exclude_newer)
    if as_json:
        said = {"schema": 1, "cutoff": found.cutoff, "moves": [to_json(m) for m in found.moves]}
        echo(json.dumps(said, indent=2))
    elif found.moves:
        show_moves(found.moves)
    elif not quiet:
        echo("everything locked is the newest that the requirements allow")
    if found.moves and exit_code:
        click.get_current_context().exit(DIFFERENCES_FOUND)


def show_moves(every: Sequence[Move]) -> None:
    """A table of moves, old → new."""
    from rich.markup import escape

    from ..console import stdout
    from ..tables import Column, print_table, short_digest

    short = lambda cell: short_digest(cell) if cell.startswith("sha256:") else cell  # noqa: E731
    columns = (
        Column("package"),
        Column("kind", drop=2),
        Column("locked", shorten=short),
        Column("new", shorten=short),
        Column("", drop=3),
        Column("environments", drop=1),
    )
    rows = [
        (
            escape(m.name),
            m.kind,
            escape(m.old or "–"),
            escape(m.new or "–"),
            "[yellow]security[/]" if m.security else "",
            escape(", ".join(m.environments)),
        )
        for m in every
    ]
    print_table(stdout(), columns, rows)


def to_json(move: Move) -> dict[str, Any]:
    return {
        "kind": move.kind,
        "name": move.name,
        "old": move.old,
        "new": move.new,
        "security": move.security,
        "environments": list(move.environments),
        "platforms": list(move.platforms),
    }
