"""``flyte-build plan FILE [TASK]``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import env_option, file_argument, json_option, platform_option, project_options

if TYPE_CHECKING:
    from ...planning.plan import Plan

__all__ = ["plan", "show"]


@click.command()
@file_argument
@click.argument("task", required=False)
@env_option
@platform_option
@click.option("--layers", is_flag=True, help="List every layer of every image.")
@click.option("--locked", is_flag=True, help="Never write a lock (plan never does; accepted for scripts).")
@project_options
@json_option
def plan(
    file: Path,
    task: str | None,
    env: tuple[str, ...],
    platform: str | None,
    layers: bool,
    locked: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
) -> None:
    """Show the images that TASK needs, or all environments of FILE: cached or to build, and why.

    Only environments that the task's environment reaches through `depends_on` are planned. Nothing is
    fetched or built. The JSON schema is documented in docs/plan-json.md.

    \b
    flyte-build plan examples/af2/main.py main
    flyte-build plan main.py --env fold_env --layers
    """
    from ...pipeline import plan_images
    from ...store import Store
    from ...workspace import open_workspace

    workspace = open_workspace(file, root, lockfiles)
    environments = workspace.select(task, env)
    made = plan_images(workspace, environments, Store(), platform)
    if as_json:
        click.echo(json.dumps(made.to_json(), indent=2))
    else:
        show(made, every_layer=layers)


def show(made: Plan, *, every_layer: bool = False, to_stderr: bool = False) -> None:
    """The plan as a table: one row an image, and what they need together."""
    from rich.markup import escape
    from rich.table import Table

    from ..console import size, stderr, stdout

    out = stderr() if to_stderr else stdout()
    several = len({i.platform for i in made.images}) > 1
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("environment")
    if several:
        table.add_column("platform")
    table.add_column("derivation")
    table.add_column("state")
    for column in ("layers new", "shared", "to fetch"):
        table.add_column(column, justify="right")
    table.add_column("why", overflow="fold")
    for i in made.images:
        new = sum(x.state == "build" for x in i.layers)
        shared = sum(bool(x.shared_with) for x in i.layers)
        fetch = f"{len(i.fetch)} · {size(i.fetch_bytes)}" if i.fetch else "–"
        state = "[green]cached[/]" if i.state == "cached" else "[yellow]build[/]"
        row = [i.environment, *([i.platform] if several else []), i.derivation.hash[7:19], state]
        table.add_row(*row, f"{new}/{len(i.layers)}", str(shared), fetch, escape(i.why))
    out.print(table)
    if every_layer:
        for i in made.images:
            _layers(i, out)
    if made.to_build:
        fetched = sum(a.size for a in made.fetch)
        out.print(
            f"[bold]{len(made.to_build)} of {len(made.images)} images to build[/], {made.new_layers} new layers, "
            f"{len(made.fetch)} artifacts to fetch ({size(fetched)})"
        )
    else:
        out.print(f"[bold green]nothing to build[/]: all {len(made.images)} images are cached")
    for note in made.notes:
        out.print(f"[dim]{escape(note)}[/]")


def _layers(image: object, out: object) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ...planning.plan import ImagePlan
    from ..console import size

    assert isinstance(image, ImagePlan)
    assert isinstance(out, Console)
    table = Table(title=f"{image.environment} ({image.platform})", title_justify="left", box=None, header_style="dim")
    for column in ("layer", "state", "size", "shared with"):
        table.add_column(column, overflow="fold", justify="right" if column == "size" else "left")
    for layer in image.layers:
        title = layer.title if len(layer.title) <= 72 else layer.title[:69] + "…"
        table.add_row(
            escape(title),
            "[green]cached[/]" if layer.state == "cached" else "[yellow]build[/]",
            size(layer.size) if layer.size is not None else "–",
            ", ".join(layer.shared_with) or "–",
        )
    out.print()
    out.print(table)
