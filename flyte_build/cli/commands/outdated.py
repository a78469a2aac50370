"""``flyte-build outdated [FILE]``: what ``lock --upgrade`` would move today."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..console import echo
from ..options import env_option, file_argument, full_option, json_option, opened, project_options, quiet_option
from .diff import DIFFERENCES_FOUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...workbench.questions import Affected, Move

__all__ = ["outdated", "show_moves"]


@click.command()
@file_argument
@env_option
@click.option(
    "--exclude-newer",
    metavar="DATE",
    help="Look only at what is older than this (a date, or `7 days`).",
)
@click.option(
    "--osv",
    metavar="URL|DIR",
    envvar="FLYTE_BUILD_OSV",
    help="Advisories in OSV's form, of a service (such as https://api.osv.dev) or in a folder: what is known against "
    "locked packages, and what a move mends.",
)
@click.option(
    "--exit-code", is_flag=True, help="Exit 13 where something would move, or an advisory is about what is locked."
)
@project_options
@json_option
@full_option
@quiet_option
def outdated(
    file: Path | None,
    env: tuple[str, ...],
    exclude_newer: str | None,
    osv: str | None,
    exit_code: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show what is newer than the locks: wheels, Debian packages and base images that `lock --upgrade` would move.

    Everything is chosen anew as `lock --upgrade` does, so a version shows only if the requirements allow it; no file is
    written. Debian packages that come from its security archive are marked. With --osv, so is what an advisory is
    about; a service hears the names and versions of what is locked.

    \b
    flyte-build outdated
    flyte-build outdated --osv ./advisories      of a dump: nobody is asked
    flyte-build lock --upgrade-package NAME      takes one of them
    """
    bench = opened(file, root, lockfiles, quiet=quiet or as_json)
    found = bench.outdated(env=env, exclude_newer=exclude_newer, osv=osv)
    if as_json:
        said = {"schema": 1, "cutoff": found.cutoff, "moves": [to_json(m) for m in found.moves]}
        if osv:
            said["affected"] = [asdict(a) for a in found.affected]
        echo(json.dumps(said, indent=2))
    else:
        if found.moves:
            show_moves(found.moves, found.affected)
        elif not quiet:
            echo("everything locked is the newest that the requirements allow")
        if found.affected:
            _show_affected(found.affected)
        elif osv and not quiet:
            echo("no advisory is about what is locked")
    if (found.moves or found.affected) and exit_code:
        click.get_current_context().exit(DIFFERENCES_FOUND)


def _show_affected(every: Sequence[Affected]) -> None:
    """What is known against locked packages, and what becomes of it with `lock --upgrade`."""
    from rich.markup import escape

    from ..console import stdout
    from ..tables import Column, print_table

    columns = (Column("advisory about"), Column("locked"), Column("upgraded"), Column("environments", drop=1))
    rows = [(escape(a.name), escape(a.version), _becomes(a), escape(", ".join(a.environments))) for a in every]
    stdout().print()
    print_table(stdout(), columns, rows, notes=[", ".join(a.advisories) for a in every], note_title="advisories")


def _becomes(one: Affected) -> str:
    if one.new is None:
        return "[red]nothing newer fits[/]"
    mended = len(one.advisories) - len(one.left)
    state = "[green]mended[/]" if not one.left else f"[red]mends {mended} of {len(one.advisories)}[/]"
    return f"{one.new}  {state}"


def show_moves(every: Sequence[Move], affected: Sequence[Affected] = ()) -> None:
    """A table of moves, old → new; what mends something is a security update."""
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
    mended = {(a.kind, a.name, a.version) for a in affected if len(a.left) < len(a.advisories)}
    rows = [
        (
            escape(m.name),
            m.kind,
            escape(m.old or "–"),
            escape(m.new or "–"),
            "[yellow]security[/]" if m.security or (m.kind, m.name, m.old) in mended else "",
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
