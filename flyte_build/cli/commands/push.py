"""``flyte-build push FILE [TASK | --env NAME]``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..completion import complete_platform
from ..options import (
    attest_option,
    cache_option,
    env_option,
    file_argument,
    full_option,
    jobs_option,
    json_option,
    locked_option,
    name_option,
    project_options,
    quiet_option,
    soci_option,
    tag_option,
    task_argument,
    unchecked_option,
)

if TYPE_CHECKING:
    from ...workbench import Images

__all__ = ["push"]


@click.command()
@file_argument
@task_argument
@env_option
@click.option(
    "--platform",
    metavar="OS/ARCH",
    shell_complete=complete_platform,
    help="Push for this platform only (default: all that the images are for, or `platforms` of pyproject.toml).",
)
@click.option(
    "--registry",
    metavar="REGISTRY",
    default="",
    help="Push below this registry (default: `registry` of pyproject.toml, or $FLYTE_BUILD_REGISTRY).",
)
@name_option
@tag_option
@cache_option
@attest_option
@soci_option
@jobs_option
@locked_option
@unchecked_option
@project_options
@json_option
@full_option
@quiet_option
def push(
    file: Path | None,
    root: Path | None,
    lockfiles: Path | None,
    name: str | None,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> None:
    """Push the images that TASK needs, or all of FILE's, to an image registry; build what is missing first.

    Only what the registry lacks travels. Each environment has a repository of its own; images for several platforms
    get an index. What a shared cache knows is neither built nor downloaded. The digests are pinned in the locks.

    \b
    flyte-build push examples/af2/main.py --registry registry.example/team
    flyte-build push main.py --tag v3 --cache registry.example/team/cache
    flyte-build push oci:./result        # what Nix or Bazel built
    """
    from ...workbench.layouts import push_layout
    from ..making import Shown, made_or_taken
    from ..progress import make_reporter
    from ..taking import meant_by

    shown = Shown(as_json, quiet, pushed=True)

    def taken() -> Images:
        if asked["soci"]:
            raise click.UsageError("--soci is for the images of a file: of a layout (oci:DIR) no index is made.")
        reporter = make_reporter(shown.silent)
        return push_layout(str(file), reporter, registry=asked["registry"], tags=asked["tags"], name=name)

    made_or_taken(
        shown, file, root, lockfiles, name, lambda bench, seen: bench.push(**asked, follower=seen), taken,
        meant_by(asked),
    )  # fmt: skip
