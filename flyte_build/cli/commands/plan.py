"""``flyte-build plan FILE [TASK]``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..noop import question
from ..options import (
    cache_option,
    env_option,
    file_argument,
    full_option,
    json_option,
    platform_option,
    project_options,
    task_argument,
)

__all__ = ["plan"]


@click.command()
@file_argument
@task_argument
@env_option
@click.option("--all", "every", is_flag=True, help="Plan every environment of FILE, as without TASK.")
@platform_option
@click.option("--layers", is_flag=True, help="List every layer of every image.")
@click.option(
    "--explain",
    is_flag=False,
    flag_value="",
    metavar="[ENV]",
    help="Say what makes each image (or ENV's) another one than was built before.",
)
@click.option("--check", "checked", is_flag=True, help="Exit 10 when a call would fail, 4 when a lock is stale.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "github"]),
    default="text",
    help="With --check: how findings are printed; `github` makes annotations.",
)
@click.option(
    "--graph",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw the plan: FILE.html (search, zoom), FILE.svg, FILE.dot, FILE.png, or - for SVG instead of the table.",
)
@cache_option
@click.option("--locked", is_flag=True, help="Never write a lock (plan never does; accepted for scripts).")
@project_options
@json_option
@full_option
def plan(
    file: Path | None,
    task: str | None,
    env: tuple[str, ...],
    every: bool,
    platform: str | None,
    layers: bool,
    explain: str | None,
    checked: bool,
    form: str,
    graph: Path | None,
    caches: tuple[str, ...],
    locked: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
) -> None:
    """Show the images that TASK needs, or all environments of FILE: cached, in a registry, or to build, and why.

    Only environments that the task's environment reaches through `depends_on` are planned. Nothing is
    fetched or built. Where a shared cache is configured, it is asked about what the store lacks. Two rules
    are checked: a task that calls a task of another environment needs that environment in `depends_on`, and
    what the called task's module imports in its own image. The JSON schema is documented in
    docs/plan-json.md, the checks in docs/checks.md.

    \b
    flyte-build plan examples/af2/main.py main
    flyte-build plan main.py --env fold_env --layers
    flyte-build plan main.py --explain
    flyte-build plan main.py --check --format github
    flyte-build plan main.py --graph plan.html
    """
    if every and (task or env):
        raise click.UsageError("--all is every environment of FILE: give no TASK and no --env with it.")
    from contextlib import ExitStack

    from ...workbench.as_read import Meant
    from ..console import stdout
    from ..plan_view import Asked, answer
    from ..progress import make_reporter
    from ..taking import Taking

    if graph is not None:
        from ..pictures import check_target

        check_target(graph)
    taking = Taking(file, root, lockfiles, Meant(task, env, platform, "tell"))
    # All that the answer depends on is watched, from the first import of the SDK on, so that the same question can be
    # answered from the record as long as nothing of it has changed (see `flyte_build.planning.noop`).
    with ExitStack() as watching:
        bench, record = taking.watched(watching, reporter=make_reporter(quiet=True))
        asked = Asked(task, env, platform, layers, explain, checked, form, graph, as_json, caches)
        with stdout().capture() as printed:
            problem = answer(asked, bench)
    text = printed.get()
    sys.stdout.write(text)
    sys.stdout.flush()
    if problem is not None:
        raise problem
    taking.keep(bench, record)
    if graph is None:
        record.save(question(sys.argv[1:]), {"stdout": text})
