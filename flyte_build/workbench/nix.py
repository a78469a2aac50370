"""Nix's side of a project: a flake whose packages are its images, and its artifacts in Nix's own store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..exporting.nix import flake_text, own_flake
from ..exporting.nixstore import NixStore, artifacts_of
from ..kernel.errors import InputError
from ..kernel.outputs import write_output
from ..kernel.platforms import host_platform
from ..kernel.reporting import Reporter
from ..locks.nouns import Lock
from ..sources.fetching import fetch
from ..sources.locators import DebLocator, Locators, project_locator
from ..sources.places import Locator
from ..store import Store
from ..toolchain import builder
from .opened import OpenProject

__all__ = ["Prefetched", "locks_of", "prefetch", "write_flake"]


@dataclass(frozen=True, slots=True)
class Prefetched:
    """``artifacts``: how many Nix will ask for, ``added``: how many of them its store lacked, with their ``size``."""

    artifacts: int
    added: int
    size: int


def write_flake(bench: OpenProject, folder: Path | None = None, flake: str | None = None) -> Path:
    """Write ``flake.nix`` into ``folder`` (default: the one that holds the locks); its path.

    ``flake``: where Nix finds flyte-build's own. A flake that is there is not touched: :class:`InputError` says what to
    add to it, unless it is the same.
    """
    folder = (folder or bench.lockfiles.parent).absolute()
    text = flake_text(flake or own_flake(), folder, bench.lockfiles, bench.root)
    path = folder / "flake.nix"
    if not os.path.lexists(path):
        write_output(path, text)
    elif not path.is_file() or path.read_bytes() != text.encode():
        raise InputError(
            f"{path}: there is another flake",
            hint="add this to it:\n" + "".join(f"  {line}\n" for line in text.splitlines()[1:-1]).rstrip(),
        )
    return path


def locks_of(bench: OpenProject, env: tuple[str, ...] = ()) -> tuple[dict[str, Lock], Locator]:
    """The locks that are meant, by environment, and where their artifacts may be had."""
    environments = bench.select(env=env)
    locks = bench.workspace.locks(environments)
    return locks, project_locator(bench.workspace.recipes(environments), locks, bench.root, store=bench.store)


def prefetch(
    locks: Mapping[str, Lock], locator: Locator, platform: str | None, reporter: Reporter, store: Store | None = None
) -> Prefetched:
    """Put what Nix will ask for into its store: the artifacts of ``locks`` and of the interpreter that it builds with.

    Raises :class:`InputError` where a lock is not for ``platform`` (default: this machine's; ``all``: every one), and
    what fetching and Nix raise.
    """
    wanted = None if platform == "all" else platform or host_platform()
    for lock in locks.values():
        if wanted is not None and wanted not in lock.platforms:
            raise InputError(
                f"environment {lock.environment} is not for {wanted}, but for {', '.join(lock.platforms)}",
                hint="name one with --platform",
            )
    for lock in locks.values():
        if any(locked.base is not None for locked in lock.platforms.values()):
            reporter.warn(f"{lock.environment}: its base is an image of a registry, which Nix does not build on")
    tools = artifacts_of([builder()], host_platform())
    artifacts = {a.sha256: a for a in (*tools, *artifacts_of(locks.values(), wanted))}
    there = NixStore.here()
    missing = there.missing(list(artifacts.values()))
    store = store or Store()
    paths = fetch(missing, store, locator=Locators(locator, DebLocator.of([builder()])), reporter=reporter)
    with store.session() as session:
        added = there.add(missing, paths, session.temporary("nix"))
    return Prefetched(len(artifacts), len(missing), added)
