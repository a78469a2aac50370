"""``flyte-build run FILE TASK [--ARG VALUE …]``."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InputError, LoadError, RunError
from ..completion import complete_arguments, complete_run, complete_task
from ..options import json_option, opened, project_options, quiet_option, unchecked_option

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ...running import RunOptions
    from ...sdk import Task
    from ...submit.run import RunResult
    from ...workspace import Workspace

__all__ = ["run"]


class _RunCommand(click.Command):
    """Completes a task's own options once TASK is there; before, as any command."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if ctx.params.get("task"):
            return complete_arguments(ctx, None, incomplete)
        return super().shell_complete(ctx, incomplete)


@click.command(cls=_RunCommand, context_settings={"allow_interspersed_args": False})
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.argument("task", required=False, shell_complete=complete_task)
@click.argument(
    "arguments",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[--ARG VALUE]...",
    shell_complete=complete_arguments,
)
@click.option("--locked", is_flag=True, help="Never write a lock: a project without one is an error.")
@click.option("--no-network", is_flag=True, help="Tasks get no network but a loopback of their own.")
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=complete_run,
    help="Reuse what succeeded in RUN; without FILE, repeat its command line.",
)
@click.option("--name", metavar="NAME", help="The new run's name (default: made from the time).")
@click.option("--overwrite-cache", is_flag=True, help="Compute cached tasks again and keep the new results.")
@unchecked_option
@project_options
@json_option
@quiet_option
def run(
    file: Path | None,
    task: str | None,
    arguments: tuple[str, ...],
    locked: bool,
    no_network: bool,
    resume: str | None,
    name: str | None,
    overwrite_cache: bool,
    unchecked: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run TASK of FILE, and every task it calls, each in a sandbox made from its own environment's image.

    Plans first, builds what is missing, and shows the tree of actions as they run. Options of this command
    come before FILE, the task's own after TASK: `flyte-build run FILE TASK --help` lists them. With FILE alone,
    its tasks are listed.

    A project without any lock is locked first, and says so. The result goes to standard output, all else to
    standard error. Logs, reports and results are kept: see `flyte-build runs` and `flyte-build logs`.

    \b
    flyte-build run examples/af2/main.py
    flyte-build run examples/af2/main.py main --sequence AAGGTTCCAA
    flyte-build run --no-network examples/af2/main.py main --sequence AAGG
    flyte-build run --resume r20261120-101500-ab12
    """
    from ...running import RunOptions

    options = RunOptions(name=name, network=not no_network, resume=resume, overwrite_cache=overwrite_cache)
    if file is None:
        if resume is None:
            raise click.UsageError("Missing argument 'FILE'.")
        file, root, lockfiles, task, arguments = _repeated(resume)
    workspace = opened(file, root, lockfiles)
    if task is None or task in ("-h", "--help"):
        _list_tasks(workspace, asked=task is not None)
        return
    chosen = workspace.project.task(task)
    given = _parse(chosen, file, arguments)
    options = replace(
        options,
        invocation={
            "file": str(workspace.project.file),
            "root": str(workspace.project.root),
            "lockfiles": str(workspace.lockfiles),
            "task": task,
            "arguments": list(arguments),
        },
    )
    result = _run(workspace, chosen, given, options, locked=locked, unchecked=unchecked, as_json=as_json, quiet=quiet)
    (_print_json if as_json else _print)(result)
    _raise_for(result)


def _repeated(resume: str) -> tuple[Path, Path, Path, str, tuple[str, ...]]:
    """FILE, --root, --lockfiles, TASK and its arguments of an earlier run."""
    from ...paths import runs_dir
    from ...submit.history import read_run

    earlier = read_run(runs_dir(), resume)
    said = earlier.facts.get("invocation") or {}
    try:
        return (
            Path(said["file"]), Path(said["root"]), Path(said["lockfiles"]), said["task"], tuple(said["arguments"])
        )  # fmt: skip
    except KeyError:
        raise InputError(f"run {earlier.name} does not say how it was started: give FILE and TASK too") from None


def _list_tasks(workspace: Workspace, *, asked: bool) -> None:
    from rich.markup import escape

    from ..console import stdout
    from ..parameters import call_shape
    from ..tables import Column, print_table

    tasks = workspace.project.tasks
    if tasks:
        rows = [(escape(t.name), escape(t.environment), escape(call_shape(t))) for t in tasks]
        notes = [t.doc.partition("\n")[0] for t in tasks]
        columns = (Column("task"), Column("environment", drop=2), Column("takes", drop=1))
        print_table(stdout(), columns, rows, notes=notes)
        sys.stdout.flush()
    if not asked:
        file = os.path.relpath(workspace.project.file)
        if not tasks:
            raise LoadError(
                f"{file}: no task in this file",
                hint="a task is a function decorated with `@env.task`, where `env` is a `flyte.TaskEnvironment`",
            )
        raise InputError(
            "no task was named", hint=f"`flyte-build run {file} {tasks[-1].name} --help` shows what it takes"
        )


def _parse(task: Task, file: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """The task's arguments; ``--help`` among them prints the task's own help and exits."""
    from ..parameters import task_options

    given: dict[str, Any] = {}
    command = click.Command(
        task.name,
        params=list(task_options(task)),
        options_metavar="[--ARG VALUE]...",
        callback=lambda **values: given.update(values),
        help=task.doc or f"Run {task.full_name}.",
        epilog=f"Runs in environment {task.environment} ({task.location}). Options of `run` itself come before FILE.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    parent = click.Context(click.Command("run"), info_name=f"flyte-build run {os.path.relpath(file)}")
    with command.make_context(task.name, list(arguments), parent=parent) as ctx:
        command.invoke(ctx)
    return {name: value for name, value in given.items() if value is not None}


def _run(
    workspace: Workspace,
    task: Task,
    given: Mapping[str, Any],
    options: RunOptions,
    *,
    locked: bool,
    unchecked: bool,
    as_json: bool,
    quiet: bool,
) -> RunResult:
    from ...checking import check_workspace, refuse
    from ...pipeline import build_plan, ensure_locked, plan_images
    from ...running import run_task
    from ...store import Store
    from ...submit.sandbox.engines import choose
    from ..live import RunView
    from ..progress import make_reporter
    from .plan import show

    signal.signal(signal.SIGTERM, _terminated)
    quiet = quiet or as_json
    reporter = make_reporter(quiet)
    environments = workspace.environments([task.environment])
    ensure_locked(workspace, environments, reporter, write=not locked)
    store = Store()
    plan = plan_images(workspace, environments, store)
    if not quiet:
        show(plan, to_stderr=True)
    # What this machine refuses, it refuses before images were downloaded for it.
    engine = choose(network=options.network)
    if not unchecked:
        refuse(check_workspace(workspace, environments, store, reporter=reporter))
    images = build_plan(workspace, plan, store, reporter)
    views: list[RunView] = []

    def observer(name: str) -> RunView:
        views.append(RunView(f"{name} {task.full_name}", quiet=quiet))
        return views[-1].started()

    try:
        return run_task(
            workspace,
            task,
            given,
            images,
            store,
            options=options,
            reporter=reporter,
            observer=observer,
            engine=engine,
        )
    finally:
        for view in views:
            view.stop()


def _terminated(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _outputs(result: RunResult) -> dict[str, Any]:
    from ...submit.literals import plain_outputs

    return plain_outputs(result.outputs, result.storage) if result.outputs is not None else {}


def _print_json(result: RunResult) -> None:
    error = result.error
    document = {
        "schema": 1,
        "run": result.name,
        "folder": str(result.folder),
        "phase": result.phase.value,
        "outputs": _outputs(result),
        "reports": [str(r) for r in result.reports],
        "error": {"code": error.code, "message": error.message, "kind": error.kind} if error else None,
        "actions": [a.to_json() for a in result.actions],
    }
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _print(result: RunResult) -> None:
    from ..console import stderr

    for report in result.reports:
        stderr().print(f"[dim]report[/] {report}", soft_wrap=True)
    outputs = _outputs(result)
    values = list(outputs.values())
    if values:
        shown = values[0] if len(values) == 1 else outputs
        click.echo(shown if isinstance(shown, str) else json.dumps(shown, indent=2, ensure_ascii=False))
    sys.stdout.flush()


def _raise_for(result: RunResult) -> None:
    from ...submit.action import ROOT_ACTION, Phase
    from ...submit.tracebacks import last_traceback

    if result.phase is Phase.SUCCEEDED:
        return
    error = result.error
    summary = (error.message.strip().splitlines() or [""])[-1] if error else "no reason was given"
    # The root's error is its own, or came up to it from the action that has the same: the one that was called last.
    same = [a for a in result.actions if a.error and error and a.error.message == error.message]
    begun = same[-1] if same else None
    told = last_traceback(Path(begun.log)) if begun and begun.log else None
    message = error.message if error and "\n" in error.message.strip() else None
    named = f" {begun.name[:10]}" if begun and begun.name != ROOT_ACTION else ""
    raise RunError(
        f"run {result.name} {result.phase.value}: {error.code + ': ' if error else ''}{summary}",
        detail=told or message,
        hint=f"`flyte-build logs {result.name}{named}` shows what {'the task that failed' if named else 'it'} printed\n"
        f"`flyte-build run --resume {result.name}` reuses what succeeded",
    )
