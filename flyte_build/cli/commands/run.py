"""``flyte-build run FILE TASK [--ARG VALUE …]``."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...kernel.errors import InputError, RunError
from ...planning import noop
from ..completion import complete_arguments, complete_run, complete_task
from ..console import counted, stderr
from ..options import (
    cache_option,
    configured,
    json_option,
    opened,
    project_options,
    quiet_option,
    unchecked_option,
)
from ..signed import require_signed
from ..task_arguments import list_tasks, parse_call

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ...planning.workspace import Workspace
    from ...project.loading import Task
    from ...submit.run import RunResult
    from ...workbench.running import RunOptions

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
@cache_option
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
    caches: tuple[str, ...],
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

    A project without any lock is locked first, and says so. With `verify-key` in [tool.flyte-build], nothing
    runs unless every image is signed by that key in the registry. The result goes to standard output, all else to
    standard error. Logs, reports and results are kept: see `flyte-build runs` and `flyte-build logs`.

    \b
    flyte-build run examples/af2/main.py
    flyte-build run examples/af2/main.py main --sequence AAGGTTCCAA
    flyte-build run --no-network examples/af2/main.py main --sequence AAGG
    flyte-build run --resume r20261120-101500-ab12
    """
    from ...workbench.running import RunOptions

    options = RunOptions(name=name, network=not no_network, resume=resume, overwrite_cache=overwrite_cache)
    if file is None:
        if resume is None:
            raise click.UsageError("Missing argument 'FILE'.")
        file, root, lockfiles, task, arguments = _repeated(resume)
    if task is None or task in ("-h", "--help"):
        list_tasks(opened(file, root, lockfiles), asked=task is not None)
        return
    signal.signal(signal.SIGTERM, _terminated)
    quiet = quiet or as_json
    asked = noop.key_of("run", [str(file), task, str(root), str(lockfiles), str(unchecked), *caches])
    images = _recorded(asked, quiet)
    if images is not None:
        workspace = opened(file, root, lockfiles)
        chosen = workspace.project.task(task)
        given = parse_call(chosen, file, arguments)
    else:
        from ...planning.watching import recording

        with recording(root or file.absolute().parent) as record:
            workspace = opened(file, root, lockfiles)
            chosen = workspace.project.task(task)
            given = parse_call(chosen, file, arguments)
            images, answer = _images(
                workspace, chosen, options, caches, locked=locked, unchecked=unchecked, quiet=quiet
            )
        if answer is not None:
            record.save(asked, answer)
    require_signed(workspace, images, quiet=quiet)
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
    result = _run(workspace, chosen, given, images, options, quiet=quiet)
    (_print_json if as_json else _print)(result)
    _raise_for(result)


def _repeated(resume: str) -> tuple[Path, Path, Path, str, tuple[str, ...]]:
    """FILE, --root, --lockfiles, TASK and its arguments of an earlier run."""
    from ...kernel.paths import runs_dir
    from ...submit.history import read_run

    earlier = read_run(runs_dir(), resume)
    said = earlier.facts.get("invocation") or {}
    try:
        return (
            Path(said["file"]), Path(said["root"]), Path(said["lockfiles"]), said["task"], tuple(said["arguments"])
        )  # fmt: skip
    except KeyError:
        raise InputError(f"run {earlier.name} does not say how it was started: give FILE and TASK too") from None


def _recorded(asked: str, quiet: bool) -> dict[str, str] | None:
    """The images of this task (environment → manifest digest) when nothing changed since they were planned last."""
    answer = noop.load(asked)
    if answer is None:
        return None
    from ...store import Store

    for derivation in answer["derivations"]:
        Store().touch(derivation)
    images: dict[str, str] = answer["images"]
    if not quiet:
        stderr().print(f"[bold green]nothing to build[/]: {counted(len(images), 'image')} cached, nothing changed")
    return images


def _images(
    workspace: Workspace,
    task: Task,
    options: RunOptions,
    caches: tuple[str, ...],
    *,
    locked: bool,
    unchecked: bool,
    quiet: bool,
) -> tuple[dict[str, str], dict[str, Any] | None]:
    """Plan, check and build; the images, and what to record of them where there was nothing to build."""
    from ...building.images import build_plan
    from ...planning.checks import find, refuse
    from ...planning.images import plan_images
    from ...remote.connecting import connected
    from ...store import Store
    from ...submit.sandbox.engines import choose
    from ...workbench.pipeline import ensure_locked
    from ..plan_table import show
    from ..progress import make_reporter

    reporter = make_reporter(quiet)
    environments = workspace.environments([task.environment])
    ensure_locked(workspace, environments, reporter, write=not locked)
    store = Store()
    with connected(configured(workspace, caches=caches), reporter) as shared:
        plan = plan_images(workspace, environments, store, shared=shared)
        if not quiet:
            show(plan, to_stderr=True)
        # What this machine refuses, it refuses before images were downloaded for it.
        if not plan.cached:
            choose(network=options.network)
        if not unchecked:
            refuse(find(workspace, environments, store, reporter=reporter, shared=shared))
        built = build_plan(workspace, plan, store, reporter, shared=shared)
    images = {image.environment: image.manifest_digest for image in built}
    answer = {"images": images, "derivations": [image.derivation for image in built]}
    return images, answer if plan.cached else None


def _run(
    workspace: Workspace,
    task: Task,
    given: Mapping[str, Any],
    images: Mapping[str, str],
    options: RunOptions,
    *,
    quiet: bool,
) -> RunResult:
    from ...store import Store
    from ...workbench.running import run_task
    from ..errors import say
    from ..live import RunView
    from ..progress import make_reporter

    names: list[str] = []
    views: list[RunView] = []

    def observer(name: str) -> RunView:
        names.append(name)
        views.append(RunView(f"{name} {task.full_name}", quiet=quiet))
        return views[-1].started()

    try:
        return run_task(
            workspace, task, given, images, Store(), options=options, reporter=make_reporter(quiet), observer=observer
        )
    except KeyboardInterrupt:
        for view, name in zip(views, names, strict=True):
            view.stop()
            say(stderr(), "hint", f"`flyte-build run --resume {name}` reuses what succeeded")
        raise
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
