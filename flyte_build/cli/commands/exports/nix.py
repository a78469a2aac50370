"""``flyte-build export nix FILE``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ...console import echo
from ...options import file_argument, opened, project_options, quiet_option

__all__ = ["nix"]


@click.command()
@file_argument
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where flake.nix goes (default: the folder that holds lockfiles/).",
)
@click.option(
    "--flake",
    metavar="REF",
    help="Where Nix finds flyte-build's own flake (default: the repository this flyte-build was installed from).",
)
@project_options
@quiet_option
def nix(
    file: Path, output: Path | None, flake: str | None, root: Path | None, lockfiles: Path | None, quiet: bool
) -> None:
    """Write a flake whose packages are the project's images.

    Commit it with the locks; then `nix build .#ENVIRONMENT` makes an OCI image layout in ./result, to the byte the
    image of `flyte-build build`. A flake that is there is not touched.

    \b
    flyte-build export nix main.py
    git add flake.nix lockfiles
    nix build .#msa_env
    """
    from ....workbench.nix import write_flake

    path = write_flake(opened(file, root, lockfiles), output, flake)
    if not quiet:
        echo(f"{os.path.relpath(path)}: commit it, then `nix build .#ENVIRONMENT`")
