"""``flyte-build nix prefetch FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import env_option, file_argument, opened, platform_option, project_options, quiet_option

if TYPE_CHECKING:
    from ...locks.nouns import Lock
    from ...sources.places import Locator

__all__ = ["nix"]


@click.group()
def nix() -> None:
    """Help Nix build the same images (see docs/nix.md)."""


@nix.command()
@file_argument
@env_option
@platform_option
@project_options
@quiet_option
def prefetch(
    file: Path,
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
    from ...exporting.nixstore import NixStore, artifacts_of
    from ...kernel.errors import InputError
    from ...kernel.platforms import host_platform
    from ...sources.fetching import fetch
    from ...store import Store
    from ...toolchain import builder
    from ..console import counted, size
    from ..progress import make_reporter

    locks, locator = _locked(file, env, root, lockfiles)
    wanted = None if platform == "all" else platform or host_platform()
    for lock in locks.values():
        if wanted is not None and wanted not in lock.platforms:
            raise InputError(
                f"environment {lock.environment} is not for {wanted}, but for {', '.join(lock.platforms)}",
                hint="name one with --platform",
            )
    reporter = make_reporter(quiet)
    for lock in locks.values():
        if any(locked.base is not None for locked in lock.platforms.values()):
            reporter.warn(f"{lock.environment}: its base is an image of a registry, which Nix does not build on")
    tools = artifacts_of([builder()], host_platform())
    artifacts = {a.sha256: a for a in (*tools, *artifacts_of(locks.values(), wanted))}
    there = NixStore.here()
    missing = there.missing(list(artifacts.values()))
    store = Store()
    paths = fetch(missing, store, locator=locator, reporter=reporter)
    with store.session() as session:
        added = there.add(missing, paths, session.temporary("nix"))
    if not quiet:
        click.echo(f"{counted(len(artifacts), 'artifact')}, added to the Nix store: {len(missing)} ({size(added)})")


def _locked(
    file: Path, env: tuple[str, ...], root: Path | None, lockfiles: Path | None
) -> tuple[dict[str, Lock], Locator]:
    """The locks meant, by environment, and where their artifacts and the interpreter's may be had."""
    from ...sources.locators import DebLocator, Locators, project_locator
    from ...toolchain import builder
    from ..locked import named_lock

    own = DebLocator.of([builder()])
    if file.suffix == ".json":
        named = named_lock(file, env[0] if env else None, root, lockfiles)
        return {named.lock.environment: named.lock}, Locators(named.locator(), own)
    workspace = opened(file, root, lockfiles)
    environments = workspace.select(env=env)
    locks = workspace.locks(environments)
    return locks, Locators(project_locator(workspace.recipes(environments), locks, workspace.project.root), own)
