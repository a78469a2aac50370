"""``flyte-build init [FOLDER]``: take on an existing Flyte project."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..console import counted, echo
from ..options import json_option

if TYPE_CHECKING:
    from ...workbench.adopting import Adoption, Refusal, Tried

__all__ = ["init"]

# Names of files that are shown on one line.
_SHOWN = 5


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path("."))
@click.option("--yes", "-y", is_flag=True, help="Write the settings without asking.")
@click.option("--no-lock", is_flag=True, help="Only write the settings; lock nothing.")
@json_option
def init(folder: Path, yes: bool, no_lock: bool, as_json: bool) -> None:
    """Take on the Flyte project in FOLDER (default: this one): find its files, write its settings, lock it, and say
    what will be refused.

    The files are found by their text. `[tool.flyte-build]` is shown first, then added to pyproject.toml; a table that
    is there is never changed. Then every environment that can be locked is; each that cannot is named with the way out.
    Your code is not touched. See docs/adopt.md.

    \b
    flyte-build init
    flyte-build init services/forecast --yes
    """
    from ...workbench.adopting import look, settle, try_file
    from ..progress import make_reporter

    found = look(folder)
    if not as_json:
        _show(found)
    if not found.there:
        if not yes:
            if as_json or not sys.stdin.isatty():
                raise click.UsageError("there is nobody to ask: expected --yes.")
            click.confirm(f"\nAdd this to {_name(found.file)}?", default=True, abort=True)
        settle(found)
        if not as_json:
            echo(f"written to {_name(found.file)}")
    paths = [found.survey.entry] if found.survey.entry is not None else [f.path for f in found.survey.files]
    tried = [try_file(found, path, make_reporter(as_json), lock=not no_lock) for path in paths]
    if as_json:
        echo(json.dumps(_to_json(found, tried), indent=2))
    else:
        _sum_up(found, tried, no_lock)
    if any(r for t in tried for r in t.refusals):
        from ...kernel.errors import RefusedError

        click.get_current_context().exit(RefusedError.exit_code)


def _show(found: Adoption) -> None:
    from rich.markup import escape

    from ...workbench.adopting import table_text
    from ..console import stdout

    out, files = stdout(), found.survey.files
    names = ", ".join(str(f.path) for f in files[:_SHOWN]) + (
        f" and {len(files) - _SHOWN} more" * (len(files) > _SHOWN)
    )
    environments = sum(len(f.environments) for f in files)
    counts = f"{counted(environments, 'environment')} and {counted(sum(f.tasks for f in files), 'task')}"
    out.print(f"{counted(len(files), 'Flyte file')} with {counts}: {escape(names)}", soft_wrap=True)
    if found.survey.entry is None and len(files) > 1:
        out.print("[dim]no one of them leads to all others: each command names its FILE[/]", soft_wrap=True)
    for path in found.survey.unread:
        out.print(f"[yellow]cannot be parsed: {escape(str(path))}[/]", soft_wrap=True)
    if found.there:
        out.print(f"{escape(_name(found.file))} has \\[tool.flyte-build] already: it is left as it is", soft_wrap=True)
    else:
        out.print()
        out.print(escape(table_text(found.values).rstrip()), style="cyan", soft_wrap=True)


def _sum_up(found: Adoption, tried: list[Tried], no_lock: bool) -> None:
    from rich.markup import escape

    from ..console import room, stdout, wrapped
    from ..errors import nearer
    from ..hints import pointed

    out = stdout()
    locked = [name for t in tried for name in t.locked]
    if locked:
        out.print(f"\nlocked: {escape(', '.join(dict.fromkeys(locked)))}", soft_wrap=True)
    refusals = [(t, r) for t in tried for r in t.refusals]
    if refusals:
        out.print(f"\n[bold]{counted(len(refusals), 'thing')} to look at[/]")
    for t, refusal in refusals:
        what, width = refusal.environment or str(t.file), room(out)
        out.print(f"[red]✗[/] {escape(wrapped(nearer(f'{what}: {refusal.said}'), width, 2))}", soft_wrap=True)
        if refusal.way_out:
            way = refusal.way_out if found.survey.entry is not None else pointed(refusal.way_out, t.file)
            out.print(f"  [dim]→ {escape(wrapped(nearer(way), width, 4))}[/]", soft_wrap=True)
    _next_steps(found, tried, bool(locked) and not no_lock)


def _next_steps(found: Adoption, tried: list[Tried], locked: bool) -> None:
    from rich.markup import escape

    from ..console import stdout

    out = stdout()
    entry = found.survey.entry
    file = "" if entry is not None else f" {tried[0].file}"
    steps = []
    if locked:
        steps += [(f"flyte-build plan{file}", "what would be built, and why")]
        steps += [(f"flyte-build run{file} TASK", "run it here, in sandboxes")]
        lockfiles = next((t.bench.lockfiles for t in tried if t.bench is not None), None)
        if lockfiles is not None:
            steps += [(f"git add {_name(found.file)} {_name(lockfiles)}", "settings and locks belong to the project")]
    if found.survey.ci:
        steps += [("docs/ci.md", f"for {found.survey.ci[0]}: build and push what main has locked")]
    if steps:
        out.print("\n[bold]next[/]")
        width = max(len(command) for command, _ in steps)
        for command, why in steps:
            out.print(f"  {escape(command.ljust(width))}  [dim]{escape(why)}[/]", soft_wrap=True)


def _name(path: Path) -> str:
    from ...workbench.adopting import relative

    return relative(path)


def _to_json(found: Adoption, tried: list[Tried]) -> dict[str, object]:
    def refused(r: Refusal) -> dict[str, object]:
        return {"environment": r.environment, "said": r.said, "way_out": r.way_out}

    return {
        "schema": 1,
        "files": [
            {"path": str(f.path), "environments": list(f.environments), "tasks": f.tasks} for f in found.survey.files
        ],
        "settings": {"file": str(found.file), "written": not found.there, "values": dict(found.values)},
        "ci": [str(p) for p in found.survey.ci],
        "tried": [
            {
                "file": str(t.file),
                "environments": list(t.environments),
                "locked": list(t.locked),
                "refusals": [refused(r) for r in t.refusals],
            }
            for t in tried
        ],
    }
