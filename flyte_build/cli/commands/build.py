"""``flyte-build build FILE [TASK | --env NAME]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..options import (
    attest_option,
    cache_option,
    env_option,
    file_argument,
    full_option,
    jobs_option,
    json_option,
    locked_option,
    output_option,
    platform_option,
    project_options,
    quiet_option,
    tag_option,
    task_argument,
    unchecked_option,
)

__all__ = ["build"]


@click.command()
@file_argument
@task_argument
@env_option
@platform_option
@output_option
@click.option("--load", type=click.Choice(["docker", "podman"]), help="Also put the images into this engine.")
@click.option(
    "--push",
    "registry",
    is_flag=False,
    flag_value="",
    metavar="[REGISTRY]",
    help="Also push the images below REGISTRY (default: `registry` of pyproject.toml), for all platforms.",
)
@tag_option
@cache_option
@attest_option
@jobs_option
@locked_option
@unchecked_option
@project_options
@json_option
@full_option
@quiet_option
def build(
    file: Path | None,
    root: Path | None,
    lockfiles: Path | None,
    load: str | None,
    registry: str | None,
    tags: tuple[str, ...],
    attest: bool,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> None:
    """Build the images that TASK needs, or all of FILE's, unless the store has them.

    Artifacts are fetched by hash, in parallel, and an interrupted download goes on where it stopped. Layers that a
    shared cache knows are pulled instead. No Docker, no root, no network but for these. A call that would fail is
    refused first. The digests are pinned in the locks.

    \b
    flyte-build build examples/af2/main.py
    flyte-build build main.py --env msa_env --output oci:./msa
    flyte-build build main.py --push registry.example/team --tag v3
    """
    from ..making import Shown, made
    from ..taking import meant_by

    if registry is None and tags:
        raise click.UsageError("--tag names pushed images: it goes with --push.")
    shown = Shown(as_json, quiet, pushed=registry is not None, loaded=load is not None)
    asked |= {"into": load}
    if registry is not None:
        more: dict[str, Any] = {"registry": registry, "tags": tags, "attest": attest}
        made(
            shown,
            file,
            root,
            lockfiles,
            lambda bench, seen: bench.push(**asked, **more, follower=seen),
            meant_by(asked),
        )
    else:
        made(
            shown, file, root, lockfiles, lambda bench, seen: bench.build(**asked, follower=seen), meant_by(asked),
            recorded=asked["output"] is None and load is None,
        )  # fmt: skip
