"""A task as it is called from the command line: which tasks a file has, and the arguments typed for one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..kernel.errors import InputError, LoadError

if TYPE_CHECKING:
    from ..project.nouns import Task
    from ..workbench import Workbench

__all__ = ["list_tasks", "parse_call"]


def list_tasks(bench: Workbench, *, asked: bool) -> None:
    from rich.markup import escape

    from .console import stdout
    from .parameters import call_shape
    from .tables import Column, print_table

    tasks = bench.tasks
    if tasks:
        rows = [(escape(t.name), escape(t.environment), escape(call_shape(t))) for t in tasks]
        notes = [t.doc.partition("\n")[0] for t in tasks]
        columns = (Column("task"), Column("environment", drop=2), Column("takes", drop=1))
        print_table(stdout(), columns, rows, notes=notes)
        sys.stdout.flush()
    if not asked:
        file = os.path.relpath(bench.file)
        if not tasks:
            raise LoadError(
                f"{file}: no task in this file",
                hint="a task is a function decorated with `@env.task`, where `env` is a `flyte.TaskEnvironment`",
            )
        raise InputError(
            "no task was named", hint=f"`flyte-build run {file} {tasks[-1].name} --help` shows what it takes"
        )


def parse_call(task: Task, file: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """The task's arguments; ``--help`` among them prints the task's own help and exits."""
    from .parameters import task_options

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
