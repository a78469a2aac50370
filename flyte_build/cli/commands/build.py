"""``flyte-build build FILE [TASK | --env NAME]``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import InputError
from ..noop import question
from ..options import (
    env_option,
    file_argument,
    json_option,
    opened,
    output_option,
    platform_option,
    project_options,
    quiet_option,
    task_argument,
    unchecked_option,
)

if TYPE_CHECKING:
    from ...building import BuiltImage

__all__ = ["build"]


@click.command()
@file_argument
@task_argument
@env_option
@platform_option
@output_option
@click.option("--jobs", "-j", type=click.IntRange(1), help="Layers assembled at once (default: the processors).")
@click.option("--locked", is_flag=True, help="Never write a lock (build never does; accepted for scripts).")
@unchecked_option
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
    unchecked: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build the images that TASK needs, or all of FILE's, unless the store has them.

    Artifacts are fetched by hash, in parallel, and an interrupted download goes on where it stopped. No
    Docker, no root, no network but for the artifacts. A call that would fail is refused first.

    \b
    flyte-build build examples/af2/main.py
    flyte-build build main.py --env msa_env --output oci:./msa
    """
    destination = _destination(output)
    started = time.monotonic()
    from ...planning.watching import recording

    # Watched, so that the same command is answered from the record while nothing changes (`planning.noop`).
    with recording(root or file.absolute().parent) as record:
        from ...checking import check_workspace, refuse
        from ...pipeline import build_plan, plan_images
        from ...store import Store
        from ..console import stdout
        from ..progress import make_reporter
        from .plan import show

        workspace = opened(file, root, lockfiles)
        environments = workspace.select(task, env)
        store = Store()
        made = plan_images(workspace, environments, store, platform)
        if not as_json and not quiet:
            show(made, to_stderr=True)
        reporter = make_reporter(quiet or as_json)
        if not unchecked:
            refuse(check_workspace(workspace, environments, store, platform=platform, reporter=reporter))
    built = build_plan(workspace, made, store, reporter, jobs)
    if destination is not None:
        from ...delivery.layout import export_layout

        export_layout(store, built, destination)
    with stdout().capture() as printed:
        if as_json:
            document = {"schema": 1, "images": [_image_json(b) for b in built]}
            stdout().print(json.dumps(document, indent=2), markup=False, soft_wrap=True)
        elif quiet:
            for image in built:
                stdout().print(f"{image.environment} {image.manifest_digest}", markup=False, soft_wrap=True)
        else:
            _show(built, time.monotonic() - started, destination)
    sys.stdout.write(printed.get())
    sys.stdout.flush()
    if destination is None and not made.to_build:
        used = [str(store.used_path(image.derivation)) for image in built]
        record.save(question(sys.argv[1:]), {"stdout": printed.get(), "used": used})


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
    from rich.markup import escape

    from ..console import counted, duration, size, stdout
    from ..tables import Column, print_table, short_digest

    out = stdout()
    columns = (
        Column("environment"),
        Column("platform", drop=0 if len({i.platform for i in images}) > 1 else 6),
        Column("image", shorten=short_digest),
        Column("layers", right=True, drop=2),
        Column("size", right=True, drop=1),
        Column("", shorten=lambda cell: cell.partition(" in ")[0]),
    )
    rows = []
    for i in images:
        state = "[dim]cached[/]" if i.reused else f"[green]built[/] in {duration(i.seconds)}"
        rows.append(
            (escape(i.environment), i.platform, i.manifest_digest, str(len(i.layers)), size(i.size), state)
        )  # fmt: skip
    print_table(out, columns, rows)
    built = sum(not image.reused for image in images)
    there = "1 image is" if len(images) == 1 else f"{len(images)} images are"
    if built:
        what = f"[bold]built {built} of {counted(len(images), 'image')}[/] in {duration(seconds)}"
    else:
        what = f"[bold]nothing to build: {there} cached[/]"
    out.print(what, soft_wrap=not out.is_terminal)
    if destination is not None:
        out.print(f"written to {escape(str(destination))} (OCI image layout)", soft_wrap=True)
