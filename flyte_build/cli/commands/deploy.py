"""``flyte-build deploy [--on TARGET] FILE [TASK | --env NAME]`` and ``flyte-build deploy --list``."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from ..console import counted, echo, stderr
from ..making import Watched
from ..options import (
    cache_option,
    env_option,
    file_argument,
    json_option,
    locked_option,
    on_option,
    opened,
    project_options,
    quiet_option,
    task_argument,
    unchecked_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...workbench.deploying import DeployedTask

__all__ = ["deploy"]


@click.command()
@file_argument
@task_argument
@env_option
@click.option("--version", metavar="VERSION", help="Theirs (default: made of code, images and what the tasks ask for).")
@click.option("--project", metavar="NAME", help="The project that `Task.get(project=…)` says (default: that of runs).")
@click.option("--domain", metavar="NAME", help="The same for its domain.")
@click.option("--list", "listing", is_flag=True, help="Show what was deployed, the latest first; deploy nothing.")
@on_option
@cache_option
@locked_option
@unchecked_option
@project_options
@json_option
@quiet_option
def deploy(
    file: Path | None,
    task: str | None,
    env: tuple[str, ...],
    version: str | None,
    project: str | None,
    domain: str | None,
    listing: bool,
    on: str | None,
    caches: tuple[str, ...],
    locked: bool,
    check: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Keep the tasks of FILE, on this machine or a target, so that tasks of other files call them by name.

    In a run of `flyte-build run`, `flyte.remote.Task.get("env.task", auto_version="latest")` finds what was deployed
    here: the caller's image needs nothing of what the task imports. Each version holds its images by digest and its
    code; it never changes. The same contents have the same version, and deploying them again makes it the latest.

    With --on, images are pushed to the target's registry and tasks are kept in its storage: every run there finds
    them, whoever starts it. Nothing is made in the cluster.

    Without TASK and --env, all tasks of FILE are deployed. For a Flyte backend there is `flyte deploy`, which pins
    the same images (docs/flyte.md).

    \b
    flyte-build deploy models/fold.py
    flyte-build deploy models/fold.py --env fold_env --version 3
    flyte-build deploy --on prod models/fold.py
    flyte-build deploy --list
    """
    if listing:
        if file is not None or task is not None:
            raise click.UsageError("`--list` shows what was deployed, of whatever file: leave out FILE.")
        _show(project, domain, on, as_json)
        return
    silent = quiet or as_json
    with ExitStack() as watching:
        bench = opened(file, root, lockfiles, quiet=silent)
        done = bench.deploy(
            task, env=env, version=version or "", project=project, domain=domain, caches=caches, check=check,
            locked=locked, follower=Watched(silent, watching), on=on,
        )  # fmt: skip
    if as_json:
        echo(json.dumps(done.to_json(), indent=2))
        return
    for line in done.left_out:
        stderr().print(f"[yellow]left out[/] {escape(line)}", soft_wrap=True)
    for one in done.tasks:
        there = "  (was there: the latest again)" if one.name in done.known else ""
        echo(f"{one.name} {one.version}{there}")
    if not quiet:
        where = "this machine" if on is None else f"target {on}"
        stderr().print(f"{counted(len(done.tasks), 'task')} deployed to {where}", soft_wrap=True)


def _show(project: str | None, domain: str | None, on: str | None, as_json: bool) -> None:
    from ...workbench.deploying import deployed_tasks

    found = deployed_tasks(project, domain, on)
    if as_json:
        echo(json.dumps({"schema": 1, "tasks": [task.to_json() for task in found]}, indent=2))
    elif not found:
        if on is None:
            echo("no tasks were deployed here; `flyte-build deploy FILE` does that")
        else:
            echo(f"no tasks were deployed to target {on}; `flyte-build deploy --on {on} FILE` does that")
    else:
        _table(found)


def _table(found: Sequence[DeployedTask]) -> None:
    from ..console import stdout
    from ..tables import Column, print_table

    columns = (Column("task"), Column("version"), Column("deployed", drop=1), Column("image", drop=2))
    rows = []
    for task in found:
        when = datetime.fromtimestamp(task.at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        rows.append((escape(task.name), escape(task.version), when, task.image[7:19]))
    print_table(stdout(), columns, rows)
