"""``flyte-build run FILE TASK [--ARG VALUE …]``."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.markup import escape

from ...kernel.errors import FlyteBuildError
from ...kernel.paths import shown
from ...kernel.patience import patiently
from ..completion import complete_arguments, complete_run, complete_task
from ..console import echo, stderr
from ..errors import say
from ..options import (
    cache_option,
    file_argument,
    json_option,
    network_option,
    on_option,
    opened,
    project_options,
    quiet_option,
    unchecked_option,
)
from ..prepared_run import begun, prepared, repeated, uncollected
from ..task_arguments import list_tasks, parse_call

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ...submit.sandbox.spec import Network
    from ...workbench import Run, RunOptions, Workbench

__all__ = ["run"]


class _RunCommand(click.Command):
    """Completes a task's own options once TASK is there; before, as any command."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if ctx.params.get("task"):
            return complete_arguments(ctx, None, incomplete)
        return super().shell_complete(ctx, incomplete)


@click.command(cls=_RunCommand, context_settings={"allow_interspersed_args": False})
@file_argument
@click.argument("task", required=False, shell_complete=complete_task)
@click.argument(
    "arguments",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[--ARG VALUE]...",
    shell_complete=complete_arguments,
)
@on_option
@click.option(
    "--driver",
    type=click.Choice(["cluster", "here"]),
    default="cluster",
    show_default=True,
    help="With --on: what drives the run is a pod of its own, or this process, for pods that reach this machine.",
)
@click.option(
    "--address", metavar="HOST[:PORT]", help="With --driver here: by what pods reach this machine (default: a guess)."
)
@click.option("--detach", is_flag=True, help="With --on: print the run's name and go; it runs on by itself.")
@click.option("--locked", is_flag=True, help="Never write a lock: a project without one is an error.")
@network_option
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=complete_run,
    help="Reuse what succeeded in RUN; without FILE, repeat its command line.",
)
@click.option("--name", metavar="NAME", help="The new run's name (default: made from the time).")
@click.option("--verify-images", is_flag=True, help="Hash every file of the unpacked images before they are entered.")
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="When the run has ended, however it did, write its page to FILE (see `flyte-build page`).",
)
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
    on: str | None,
    driver: Literal["cluster", "here"],
    address: str | None,
    detach: bool,
    locked: bool,
    network: Network | None,
    resume: str | None,
    name: str | None,
    verify_images: bool,
    page: Path | None,
    caches: tuple[str, ...],
    overwrite_cache: bool,
    check: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run TASK of FILE, and every task it calls, each in a sandbox made from its own environment's image.

    Plans first, builds what is missing, and shows the tree of actions as they run. Options of this command
    come before FILE, the task's own after TASK: `flyte-build run FILE TASK --help` lists them. With FILE alone,
    its tasks are listed.

    With --on, TASK runs on a target of [tool.flyte-build.targets] instead, each action as a pod (docs/kubernetes.md).
    What drives the run is a pod, too, so it does not need this machine; Ctrl-C aborts it, and --detach leaves it alone.

    A condition that a task waits for is asked for here, where somebody sits at the terminal; `flyte-build signal`
    answers it from elsewhere.

    A project without any lock is locked first, and says so. With `verify-key` in [tool.flyte-build], nothing
    runs unless every image is signed by that key in the registry. The result goes to standard output, all else to
    standard error. Logs, reports and results are kept: see `flyte-build runs` and `flyte-build logs`.

    \b
    flyte-build run examples/af2/main.py
    flyte-build run examples/af2/main.py main --sequence AAGGTTCCAA
    flyte-build run --network none examples/af2/main.py main --sequence AAGG
    flyte-build run --resume r20261120-101500-ab12
    flyte-build run --on prod examples/af2/main.py main --sequence AAGG
    """
    if on is None and (detach or address is not None):
        raise click.UsageError("`--detach` and `--address` are for runs on a target: give `--on TARGET`.")
    if on is not None and (network is not None or verify_images):
        raise click.UsageError(
            "`--network` and `--verify-images` are for sandboxes of this machine, and `--on` for pods."
        )
    if detach and page is not None:
        raise click.UsageError(f"`--page` is for a run that is waited for: later, `flyte-build page --on {on} RUN`.")
    if detach and driver == "here":
        raise click.UsageError("`--detach` leaves the run to a driver in the cluster, and `--driver here` is none.")
    if page is not None:
        from ...kernel.outputs import check_place

        check_place(page)
    if on is None:
        begun(file, task, network)
    with uncollected():
        from ...workbench import RunOptions  # the SDK with it

    options = RunOptions(
        name,
        network=network,
        resume=resume,
        overwrite_cache=overwrite_cache,
        verify_images=verify_images,
        check=check,
        locked=locked,
        caches=caches,
        on=on,
        driver=driver,
        address=address,
    )
    if file is None and task is None and resume is not None:
        file, root, lockfiles, task, arguments, before = repeated(resume, on)
        options = replace(options, network=network or before)
        if on is None:
            begun(file, task, options.network)
    if task is None or task in ("-h", "--help"):
        list_tasks(opened(file, root, lockfiles), asked=task is not None)
        return
    signal.signal(signal.SIGTERM, _terminated)
    quiet = quiet or as_json
    if on is not None:
        bench = opened(file, root, lockfiles, quiet=quiet)
        given = parse_call(bench.task(task), bench.file, arguments)
        ready = None
    else:
        bench, given, ready = prepared(file, task, arguments, root, lockfiles, options, quiet=quiet)
    invocation = {
        "file": str(bench.file),
        "root": str(bench.root),
        "lockfiles": str(bench.lockfiles),
        "task": task,
        "arguments": list(arguments),
        "network": options.network,
    }
    if detach:
        submitted = bench.submit(task, replace(options, invocation=invocation), **given)
        echo(json.dumps({"schema": 1, "run": submitted.name, "target": on}, indent=2) if as_json else submitted.name)
        return
    result = _run(bench, task, given, replace(options, ready=ready, invocation=invocation), quiet=quiet)
    if as_json:
        echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
    else:
        _print(result)
    try:
        if page is not None:
            _write_page(result.name, page, on)
    except FlyteBuildError as e:
        if result.error is None:
            raise
        say(stderr(), "warning", e.message)
    if result.error is not None:
        raise result.error


def _write_page(run: str, file: Path, on: str | None) -> None:
    from ...workbench import kept_run
    from ...workbench.run_pages import target_page_run, write_page

    found, base = target_page_run(on, run) if on is not None else (kept_run(run), None)
    write_page(found, file, base)
    click.echo(f"page of the run: {shown(file)}", err=True)


def _run(bench: Workbench, task: str, given: dict[str, Any], options: RunOptions, *, quiet: bool) -> Run:
    from ..live import RunView
    from ..prompting import Prompter, can_ask

    title = bench.task(task).full_name
    docs = {t.full_name: t.doc for t in bench.tasks if t.doc}
    views: dict[str, RunView] = {}
    prompters: list[Prompter] = []
    running = ExitStack()

    def observer(name: str) -> RunView:
        running.enter_context(patiently("what runs is ended"))
        view = views[name] = RunView(f"{name} {title}", quiet=quiet, docs=docs, run=name)
        if can_ask():
            prompters.append(Prompter(partial(_answer, name, options.on), view.hold, view.go_on))
            view.heard_by(prompters[-1].hear)
        return view.started()

    try:
        return bench.run(task, replace(options, observer=observer), **given)
    except KeyboardInterrupt:
        for prompter in prompters:
            prompter.stop()
        for name, view in views.items():
            view.stop()
            where = f"--on {options.on} " if options.on else ""
            say(stderr(), "hint", f"`flyte-build run {where}--resume {name}` reuses what succeeded")
        raise
    finally:
        running.close()
        for prompter in prompters:
            prompter.stop()
        for view in views.values():
            view.stop()


def _answer(run: str, on: str | None, condition: str, text: str) -> None:
    from ...workbench.reaching import signal_run

    signal_run(run, condition, text, on=on)


def _terminated(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _print(result: Run) -> None:
    for report in result.reports:
        stderr().print(f"[dim]report[/] {escape(str(report))}", soft_wrap=True)
    values = list(result.outputs.values())
    if values:
        shown = values[0] if len(values) == 1 else dict(result.outputs)
        if isinstance(shown, str) and not sys.stdout.isatty():
            click.echo(shown)  # to a program or a file, byte for byte
        else:
            echo(shown if isinstance(shown, str) else json.dumps(shown, indent=2, ensure_ascii=False))
    sys.stdout.flush()
