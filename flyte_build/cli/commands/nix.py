"""``flyte-build nix prefetch FILE``."""

from __future__ import annotations

from pathlib import Path

import click

from ..console import echo
from ..options import env_option, file_argument, opened, platform_option, project_options, quiet_option

__all__ = ["nix"]


@click.group()
def nix() -> None:
    """Help Nix build the same images (see docs/nix.md)."""


@nix.command("prefetch")
@file_argument
@env_option
@platform_option
@project_options
@quiet_option
def fetch_ahead(
    file: Path | None,
    env: tuple[str, ...],
    platform: str | None,
    root: Path | None,
    lockfiles: Path | None,
    quiet: bool,
) -> None:
    """Put what Nix will ask for into its store, from the indexes and mirrors that are configured here.

    FILE is a Python file, or one environment's lock (lockfiles/NAME.json), which is read without importing anything.
    Wheels and Debian packages of the images are fetched by hash, and those of the interpreter that Nix builds with;
    `nix build` then downloads nothing. Nothing is fetched that the Nix store has.

    \b
    flyte-build nix prefetch examples/af2/main.py --env msa_env
    nix build .#msa_env
    """
    from ...workbench.nix import locks_of, prefetch
    from ..console import counted, size
    from ..progress import make_reporter

    if file is not None and file.suffix == ".json":
        from ..taking import named_lock

        named = named_lock(file, env[0] if env else None, root, lockfiles)
        locks, locator = {named.lock.environment: named.lock}, named.locator()
    else:
        locks, locator = locks_of(opened(file, root, lockfiles), env)
    done = prefetch(locks, locator, platform, make_reporter(quiet))
    if not quiet:
        echo(f"{counted(done.artifacts, 'artifact')}, added to the Nix store: {done.added} ({size(done.size)})")
