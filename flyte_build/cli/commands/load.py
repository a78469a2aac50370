"""``flyte-build load FILE [TASK | --env NAME]``."""

from __future__ import annotations

from pathlib import Path

import click

from ..options import (
    cache_option,
    env_option,
    file_argument,
    json_option,
    name_option,
    platform_option,
    project_options,
    quiet_option,
    task_argument,
    unchecked_option,
)

__all__ = ["load"]


@click.command()
@file_argument
@task_argument
@env_option
@platform_option
@click.option(
    "--into", type=click.Choice(["docker", "podman"]), default="docker", show_default=True, help="The engine."
)
@name_option
@cache_option
@click.option("--locked", is_flag=True, help="Write no lock, and exit 15 unless the images are those that are pinned.")
@unchecked_option
@project_options
@json_option
@quiet_option
def load(
    file: Path,
    task: str | None,
    env: tuple[str, ...],
    platform: str | None,
    into: str,
    name: str | None,
    caches: tuple[str, ...],
    locked: bool,
    unchecked: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Put the images that TASK needs, or all of FILE's, into an engine of this machine; build what is missing first.

    The layers go as they are; what the engine has already is not sent again.

    \b
    flyte-build load examples/af2/main.py --into podman
    flyte-build load oci:./result        # what Nix or Bazel built
    """
    from ...delivery.adopting import is_layout
    from ..making import Asked, make

    asked = Asked(
        file,
        task,
        env,
        platform,
        root,
        lockfiles,
        locked=locked,
        unchecked=unchecked,
        as_json=as_json,
        quiet=quiet,
        load=into,
        caches=caches,
    )
    if is_layout(file):
        from ..layouts import load_layout

        load_layout(asked, name)
    elif name is not None:
        raise click.UsageError("--name is for a layout (oci:DIR): a file's environments have names.")
    else:
        make(asked)
