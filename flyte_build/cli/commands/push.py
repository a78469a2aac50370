"""``flyte-build push FILE [TASK | --env NAME]``."""

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
    tag_option,
    task_argument,
    unchecked_option,
)

__all__ = ["push"]


@click.command()
@file_argument
@task_argument
@env_option
@platform_option
@click.option(
    "--registry",
    metavar="REGISTRY",
    default="",
    help="Push below this registry (default: `registry` of pyproject.toml, or $FLYTE_BUILD_REGISTRY).",
)
@name_option
@tag_option
@cache_option
@click.option("--no-attest", "unattested", is_flag=True, help="Leave out SBOM and provenance.")
@click.option("--jobs", "-j", type=click.IntRange(1), help="Layers assembled at once (default: the processors).")
@click.option("--locked", is_flag=True, help="Write no lock, and exit 15 unless the images are those that are pinned.")
@unchecked_option
@project_options
@json_option
@quiet_option
def push(
    file: Path,
    task: str | None,
    env: tuple[str, ...],
    platform: str | None,
    registry: str,
    name: str | None,
    tags: tuple[str, ...],
    caches: tuple[str, ...],
    unattested: bool,
    jobs: int | None,
    locked: bool,
    unchecked: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Push the images that TASK needs, or all of FILE's, to an image registry; build what is missing first.

    Only what the registry lacks travels. Each environment has a repository of its own; images for several platforms
    get an index. What a shared cache knows is neither built nor downloaded. The digests are pinned in the locks.

    \b
    flyte-build push examples/af2/main.py --registry registry.example/team
    flyte-build push main.py --env msa_env --tag v3 --cache registry.example/team/cache
    flyte-build push oci:./result --registry registry.example/team        # what Nix or Bazel built
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
        jobs=jobs,
        locked=locked,
        unchecked=unchecked,
        as_json=as_json,
        quiet=quiet,
        registry=registry,
        tags=tags,
        caches=caches,
        attest=not unattested,
    )
    if is_layout(file):
        from ..layouts import push_layout

        push_layout(asked, name)
    elif name is not None:
        raise click.UsageError("--name is for a layout (oci:DIR): a file's environments have names.")
    else:
        make(asked)
