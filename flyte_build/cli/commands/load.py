"""``flyte-build load FILE [TASK | --env NAME]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..options import (
    cache_option,
    env_option,
    file_argument,
    full_option,
    json_option,
    locked_option,
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
@locked_option
@unchecked_option
@project_options
@json_option
@full_option
@quiet_option
def load(
    file: Path | None,
    root: Path | None,
    lockfiles: Path | None,
    name: str | None,
    into: str,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> None:
    """Put the images that TASK needs, or all of FILE's, into an engine of this machine; build what is missing first.

    The layers go as they are; what the engine has already is not sent again.

    \b
    flyte-build load examples/af2/main.py --into podman
    flyte-build load oci:./result        # what Nix or Bazel built
    """
    from ...workbench.layouts import load_layout
    from ..making import Shown, made_or_taken
    from ..progress import make_reporter
    from ..taking import meant_by

    shown = Shown(as_json, quiet, loaded=True)
    made_or_taken(
        shown,
        file,
        root,
        lockfiles,
        name,
        lambda bench, seen: bench.build(**asked, into=into, follower=seen),
        lambda: load_layout(str(file), into, make_reporter(shown.silent), name=name),
        meant_by(asked),
    )
