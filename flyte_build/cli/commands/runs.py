"""``flyte-build runs``, ``flyte-build runs show RUN`` and ``flyte-build logs RUN [ACTION]``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...kernel.visible import visible
from ..completion import complete_action, complete_run
from ..console import counted, echo, show_log
from ..options import full_option, json_option, on_option
from ..waits import telling

if TYPE_CHECKING:
    from ...submit.history import Run

__all__ = ["logs", "runs"]

# Columns where nobody counts them.
_WHOLE = 100_000


@click.group(invoke_without_command=True)
@click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="The newest so many.")
@click.option("--all", "everywhere", is_flag=True, help="Of every project, not only of the one that this folder is in.")
@on_option
@json_option
@full_option
@click.pass_context
def runs(context: click.Context, limit: int, everywhere: bool, on: str | None, as_json: bool) -> None:
    """List runs of this project, the newest first: those on this machine, or, with --on, all those of a target, from
    its storage alone. The project is the nearest folder upwards with a pyproject.toml, setup.py or .git.

    A run's state is `killed` when its process ended without saying how: `flyte-build run --resume` goes on from there.
    `runs show RUN` has all that is known of one: its tree, and each attempt of each action.

    Where the storage of a target is not reached from here, what its cluster tells is listed, and a line says why.
    """
    if context.invoked_subcommand is not None:
        return
    from ...kernel.paths import runs_dir
    from ...workbench import kept_runs

    if on is None:
        found = kept_runs(limit, project=None if everywhere else Path.cwd())
    else:
        from ...workbench.reaching import Unreachable, target_runs

        try:
            with telling(f"asking {on}", quiet=as_json):
                found = target_runs(on, limit)
        except Unreachable as e:
            from ..at_sight import print_runs_at_sight

            print_runs_at_sight(on, e, limit, as_json)
            return
    if as_json:
        echo(json.dumps({"schema": 1, "runs": [_to_json(r) for r in found]}, indent=2))
        return
    if not found:
        others = len(kept_runs()) if on is None and not everywhere else 0
        if others:
            echo(f"no runs of this project; `flyte-build runs --all` lists {counted(others, 'run')} of others")
        else:
            echo(f"no runs in {runs_dir()}" if on is None else f"no runs on {on}")
        return
    from rich.markup import escape

    from ..console import duration, stdout
    from ..tables import Column, print_table

    columns = (
        Column("run"),
        Column("task"),
        Column("state"),
        Column("started", drop=2, shorten=lambda cell: cell[5:16]),
        Column("took", right=True, drop=1),
        Column("actions", right=True, drop=3),
    )
    rows = []
    for r in found:
        started = datetime.fromtimestamp(r.started, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        took = duration(r.ended - r.started) if r.ended else "–"
        rows.append((r.name, escape(r.task), _state(r), started, took, str(len(r.actions))))
    print_table(stdout(), columns, rows)


@runs.command()
@click.argument("run", shell_complete=complete_run)
@on_option
@click.option("--html", "as_page", is_flag=True, help="Write its page to RUN.html here instead, as `page` does.")
@json_option
@full_option
def show(run: str, on: str | None, as_page: bool, as_json: bool) -> None:
    """Show RUN: its tree of actions with what their tasks say, and each attempt with how long it took and how it ended.

    RUN may be the beginning of a run's name. With --json: every action with its `attempts`, `queue`, `interruptible`,
    `short_name` and its task's `doc`.

    \b
    flyte-build runs show r20261120-101500-ab12
    flyte-build runs show --json r20261120-101500-ab12
    flyte-build runs show --on prod --html r20261120-101500-ab12
    """
    if as_page and as_json:
        raise click.UsageError("`--html` and `--json` are two ways of showing it: give one.")
    base = details = None
    if on is None:
        from ...workbench import kept_run

        found = kept_run(run)
    elif as_page:
        from .page import of_target

        found, base, details = of_target(on, run)
    else:
        from ...workbench.reaching import Unreachable, target_run

        try:
            with telling(f"asking {on}", quiet=as_json):
                found = target_run(on, run, logs=False)
        except Unreachable as e:
            from ..at_sight import print_run_at_sight

            print_run_at_sight(on, run, e, as_json)
            return
    if as_page:
        from .page import written

        written(found, Path(f"{found.name}.html"), base, details)
        return
    if as_json:
        from ..shown_run import run_json

        echo(json.dumps(run_json(found), indent=2, ensure_ascii=False))
        return
    from ..shown_run import print_run

    print_run(found)


def _newest(on: str | None) -> str:
    from ...kernel.errors import RunError
    from ...workbench import kept_runs
    from ...workbench.reaching import target_runs

    with telling(f"asking {on}", quiet=on is None):
        found = kept_runs(1, project=Path.cwd()) if on is None else target_runs(on, 1)
    if not found:
        if on is not None:
            raise RunError(f"there are no runs on {on} yet", hint=f"`flyte-build run --on {on} FILE TASK` makes one")
        others = kept_runs(1)
        raise RunError(
            "there are no runs of this project yet",
            hint="`flyte-build runs --all` lists those of every project"
            if others
            else "`flyte-build run FILE TASK` makes one",
        )
    return found[0].name


def _state(run: Run) -> str:
    if run.phase is None:
        return "[yellow]killed[/]"
    colour = {"succeeded": "green", "running": "cyan", "aborted": "yellow"}.get(run.phase.value, "red")
    return f"[{colour}]{run.phase.value}[/]"


def _to_json(run: Run) -> dict[str, object]:
    return {
        "name": run.name,
        "task": run.task,
        "phase": run.phase.value if run.phase else "killed",
        "started": run.started,
        "ended": run.ended,
        "folder": str(run.folder),
        "actions": [a.to_json() for a in run.actions],
    }


@click.command()
@click.argument("run", required=False, shell_complete=complete_run)
@click.argument("action", required=False, shell_complete=complete_action)
@on_option
@click.option("--follow", "-f", is_flag=True, help="Go on with what is printed until the run has ended.")
@click.option("--tree", is_flag=True, help="Show the tree of actions instead of what they printed.")
def logs(run: str | None, action: str | None, on: str | None, follow: bool, tree: bool) -> None:
    """Show what RUN printed: all of its actions, or ACTION (its id, the beginning of it, or a task's name).

    Without RUN it is the newest run: of this project, or of the target. RUN may be the beginning of a run's name;
    `flyte-build runs` lists them. With --on, it is a run of a target, and logs come from its storage; with --follow,
    those of pods that run come from the cluster.

    \b
    flyte-build logs
    flyte-build logs r20261120-101500-ab12 run_fold
    flyte-build logs r20261120-101500-ab12 --tree
    flyte-build logs --on prod -f r20261120-101500-ab12
    """
    if on is None:
        _show_logs(run, action, on, follow, tree)
        return
    from ...workbench.reaching import Unreachable

    try:
        _show_logs(run, action, on, follow, tree)
    except Unreachable as e:
        if follow or tree:
            more = (
                f"`flyte-build runs show --on {on} RUN` and `flyte-build logs --on {on} RUN` show what the cluster has"
            )
            e.hint = f"{e.hint}; {more}" if e.hint else more
            raise
        from ..at_sight import print_logs_at_sight

        print_logs_at_sight(on, run, action, e)


def _show_logs(run: str | None, action: str | None, on: str | None, follow: bool, tree: bool) -> None:
    from ...workbench.runs import find_logs, kept_run

    run = run or _newest(on)
    if follow:
        from ..following import follow_logs

        follow_logs(run, action, on)
        return
    if on is None:
        found = kept_run(run)
    else:
        from ...workbench.reaching import target_run

        with telling(f"asking {on}"):
            found = target_run(on, run, logs=not tree)
    from rich.markup import escape

    from ..console import room, stderr, stdout

    if tree:
        from ..live import action_tree

        out = stdout()
        out.print(action_tree(found.actions, f"{found.name} {found.task}"), width=room(out) or _WHOLE, crop=False)
        return
    several = find_logs(found, action)
    if not any(log.stat().st_size for _, log in several):
        yet = " yet" if found.running else ""
        stderr().print(f"[dim]nothing was printed{yet} in {escape(found.name)}[/]", soft_wrap=True)
        return
    for record, log in several:
        if len(several) > 1:
            click.secho(visible(f"── {record.task or record.name} ({record.name}, attempt {log.stem}) ──"), bold=True)
        with log.open("rb") as f:
            show_log(f)
