"""``flyte-build build FILE [TASK | --env NAME]``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import InputError
from ..options import env_option, file_argument, json_option, platform_option, project_options, quiet_option

if TYPE_CHECKING:
    from ...building import BuiltImage

__all__ = ["build"]


@click.command()
@file_argument
@click.argument("task", required=False)
@env_option
@platform_option
@click.option(
    "--output",
    "-o",
    metavar="oci:DIR",
    help="Also write the images as an OCI image layout, which skopeo, umoci and podman read.",
)
@click.option("--jobs", "-j", type=click.IntRange(1), help="Layers assembled at once (default: the processors).")
@click.option("--locked", is_flag=True, help="Never write a lock (build never does; accepted for scripts).")
@project_options
@json_option
@quiet_option
def build(
    file: Path,
    task: str | None,
    env: tuple[str, ...],
    platform: str | None,
    output: str | None,
    jobs: int | None,
    locked: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build the images that TASK needs, or all of FILE's, unless the store has them.

    Artifacts are fetched by hash, in parallel, and an interrupted download goes on where it stopped. No
    Docker, no root, no network but for the artifacts.

    \b
    flyte-build build examples/af2/main.py
    flyte-build build main.py --env msa_env --output oci:./msa
    """
    from ...pipeline import build_plan, plan_images
    from ...store import Store
    from ...workspace import open_workspace
    from ..progress import make_reporter
    from .plan import show

    destination = _destination(output)
    started = time.monotonic()
    workspace = open_workspace(file, root, lockfiles)
    environments = workspace.select(task, env)
    store = Store()
    made = plan_images(workspace, environments, store, platform)
    if not as_json and not quiet:
        show(made, to_stderr=True)
    built = build_plan(workspace, made, store, make_reporter(quiet or as_json), jobs)
    if destination is not None:
        from ...export import export_layout

        export_layout(store, built, destination)
    if as_json:
        click.echo(json.dumps({"schema": 1, "images": [_image_json(b) for b in built]}, indent=2))
    elif not quiet:
        _show(built, time.monotonic() - started, destination)
    else:
        for image in built:
            click.echo(f"{image.environment} {image.manifest_digest}")


def _destination(output: str | None) -> Path | None:
    if output is None:
        return None
    scheme, _, path = output.partition(":")
    if scheme != "oci" or not path:
        raise InputError(f"--output: expected `oci:DIR`, found `{output}`")
    return Path(path)


def _image_json(image: BuiltImage) -> dict[str, object]:
    return {
        "environment": image.environment,
        "platform": image.platform,
        "digest": image.manifest_digest,
        "size": image.size,
        "reused": image.reused,
        "seconds": round(image.seconds, 3),
    }


def _show(images: list[BuiltImage], seconds: float, destination: Path | None) -> None:
    from rich.table import Table

    from ..console import duration, size, stdout

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("environment", "image", "layers", "size", ""):
        table.add_column(column, justify="right" if column in ("layers", "size") else "left", overflow="fold")
    for image in images:
        state = "[dim]cached[/]" if image.reused else f"[green]built[/] [dim]in {duration(image.seconds)}[/]"
        table.add_row(image.environment, image.manifest_digest, str(len(image.layers)), size(image.size), state)
    stdout().print(table)
    built = sum(not image.reused for image in images)
    what = f"built {built} of {len(images)} images" if built else f"nothing to build: {len(images)} images cached"
    stdout().print(f"[bold]{what}[/] in {duration(seconds)}")
    if destination is not None:
        stdout().print(f"written to {destination} (OCI image layout)")
