"""``flyte-build bundle FILE -o FILE.fbundle`` and ``flyte-build unbundle FILE.fbundle``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...kernel.paths import shown
from ..console import echo
from ..options import (
    cache_option,
    env_option,
    file_argument,
    full_option,
    json_option,
    opened,
    platform_option,
    project_options,
    quiet_option,
    task_argument,
    unchecked_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...delivery.bundle import Bundled
    from ...delivery.format import BundledImage
    from ...delivery.unbundle import Unbundled

__all__ = ["bundle", "unbundle"]


@click.command()
@file_argument
@task_argument
@env_option
@platform_option
@click.option(
    "--output",
    "-o",
    "target",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.fbundle",
    help="The file to write; a bundle that is there is replaced.",
)
@click.option("--no-images", is_flag=True, help="Leave out the images: the other site makes them of the artifacts.")
@click.option("--no-artifacts", is_flag=True, help="Leave out the artifacts: the other site can only use the images.")
@cache_option
@click.option("--jobs", "-j", type=click.IntRange(1), help="Layers assembled at once (default: the processors).")
@unchecked_option
@project_options
@json_option
@full_option
@quiet_option
def bundle(
    file: Path | None,
    task: str | None,
    env: tuple[str, ...],
    platform: str | None,
    target: Path,
    no_images: bool,
    no_artifacts: bool,
    caches: tuple[str, ...],
    jobs: int | None,
    check: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write all that TASK's images need, or all of FILE's, to one file for a site without network.

    It holds the locks, the wheels and Debian packages, and the images, which are built first. Take it there with the
    project's own files, run `flyte-build unbundle`, and every build there does without network.

    \b
    flyte-build bundle examples/af2/main.py -o af2.fbundle
    flyte-build bundle main.py --env msa_env -o msa.fbundle --no-images
    """
    bench = opened(file, root, lockfiles, quiet=quiet or as_json)
    made = bench.bundle(
        target,
        task,
        env=env,
        platform=platform,
        caches=caches,
        images=not no_images,
        artifacts=not no_artifacts,
        check=check,
        jobs=jobs,
    )
    if as_json:
        echo(json.dumps(_bundled_json(made), indent=2))
    elif quiet:
        echo(f"{shown(made.path)} sha256:{made.sha256}")
    else:
        _show_bundled(made)


@click.command()
@click.argument("file", metavar="FILE.fbundle", type=click.Path(path_type=Path))
@click.option(
    "--lockfiles",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the locks (default: the nearest lockfiles/ upwards of this folder).",
)
@click.option("--verify", is_flag=True, help="Make the images again from the artifacts, and refuse any other.")
@click.option("--force", is_flag=True, help="Replace locks that are not those of the bundle.")
@json_option
@full_option
@quiet_option
def unbundle(file: Path, lockfiles: Path | None, verify: bool, force: bool, as_json: bool, quiet: bool) -> None:
    """Take in what `flyte-build bundle` wrote: artifacts and images into the store, locks beside the project.

    Every file is checked against its hash before it is kept. That the images are those of the artifacts is believed,
    because you named the file, unless you say `--verify`. No network is asked, here or in builds from then on.

    \b
    flyte-build unbundle af2.fbundle
    flyte-build build examples/af2/main.py --locked
    """
    from ...workbench import unbundle as take
    from ..progress import make_reporter

    done, folder = take(file, lockfiles, verify=verify, force=force, reporter=make_reporter(quiet or as_json))
    if as_json:
        echo(json.dumps(_unbundled_json(done, folder), indent=2))
    elif not quiet:
        _show_unbundled(done, folder)


def _image_json(image: BundledImage) -> dict[str, object]:
    return {
        "environment": image.environment,
        "platform": image.platform,
        "derivation": image.derivation,
        "digest": image.manifest,
    }


def _bundled_json(made: Bundled) -> dict[str, object]:
    return {
        "schema": 1,
        "bundle": str(made.path),
        "size": made.size,
        "sha256": made.sha256,
        "images": [_image_json(image) for image in made.index.images],
        "artifacts": len(made.index.within("artifacts")),
        "blobs": len(made.index.within("blobs")),
    }


def _unbundled_json(done: Unbundled, folder: Path) -> dict[str, object]:
    return {
        "schema": 1,
        "images": [_image_json(image) for image in done.index.images],
        "ready": [image.environment for image in done.images],
        "verified": done.verified,
        "files": done.files,
        "new": done.new,
        "size": done.size,
        "lockfiles": str(folder),
        "locks_written": list(done.locks),
    }


def _show_images(images: Sequence[BundledImage]) -> None:
    from rich.markup import escape

    from ..console import stdout
    from ..tables import Column, print_table, short_digest

    columns = (
        Column("environment"),
        Column("platform", drop=6),
        Column("derivation", drop=1, shorten=short_digest),
        Column("image", shorten=short_digest),
    )
    rows = [(escape(i.environment), i.platform, i.derivation, i.manifest or "[dim]to be made[/]") for i in images]
    print_table(stdout(), columns, rows)


def _show_bundled(made: Bundled) -> None:
    from rich.markup import escape

    from ..console import counted, size, stdout

    _show_images(made.index.images)
    artifacts, blobs = made.index.within("artifacts"), made.index.within("blobs")
    held = " and ".join(
        f"{counted(len(entries), noun)} ({size(sum(e.size for e in entries))})"
        for noun, entries in (("artifact", artifacts), ("blob", blobs))
        if entries
    )
    stdout().print(f"[bold]{escape(shown(made.path))}[/]: {size(made.size)} with {held}", soft_wrap=True)
    stdout().print(f"sha256:{made.sha256}", soft_wrap=True)


def _show_unbundled(done: Unbundled, folder: Path) -> None:
    from rich.markup import escape

    from ..console import counted, size, stdout

    out = stdout()
    _show_images(done.index.images)
    out.print(
        f"[bold]{counted(done.files, 'file')}, {size(done.size)}[/]: every one is what its name says, {done.new} new"
    )
    locks = ", ".join(done.locks) if done.locks else "none: all were there"
    out.print(f"locks written to {escape(shown(folder))}: {escape(locks)}", soft_wrap=True)
    if done.verified:
        out.print("every image is the one that its artifacts make")


# FIXME
