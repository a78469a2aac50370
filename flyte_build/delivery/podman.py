"""Images into podman's storage: `podman pull` of an OCI layout that shares the store's bytes.

podman reads a layout's blobs where they lie, knows by digest which layers it has, and keeps the manifest's digest, so
nothing is packed into an archive first. The program is asked, not its service: the storage needs no daemon.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..kernel.errors import StoreError
from ..kernel.reporting import Reporter
from ..store import Store, layout
from ..store.files import storing
from .engines import LoadedImage, Wanted
from .layout import export_layout

__all__ = ["load_podman"]

# A layout's folder becomes a name in the storage, for the time of a pull.
_FOLDER = "flyte-build-load"
_SAID = 2000


def load_podman(store: Store, images: Sequence[Wanted], reporter: Reporter) -> list[LoadedImage]:
    """See :func:`flyte_build.delivery.daemons.load`."""
    if shutil.which("podman") is None:
        raise StoreError(
            "podman is not installed, or not on the PATH",
            hint="install podman, or write an archive with `--output docker-archive:FILE` and load it elsewhere",
        )
    there = {image.config: _inspect(image.config) for image in images}
    missing = list({image.config: image for image in images if there[image.config] is None}.values())
    for image in images:
        if there[image.config] is not None:
            reporter.note(f"{image.image.environment}: podman has the image already")
    if missing:
        _pull(store, missing, reporter)
    for image in images:
        _name(image)
    return [image.loaded(image.config, reused=there[image.config] is not None) for image in images]


def _pull(store: Store, images: Sequence[Wanted], reporter: Reporter) -> None:
    with store.session() as session:
        folder = session.temporary("podman")
        with storing(folder):
            folder.mkdir()
        # Named from inside its parent: a colon in the path would end it, as podman reads it.
        for image in images:
            export_layout(store, [image.image], folder / _FOLDER)
            name = layout.ref_name(image.image.environment, image.image.platform)
            with reporter.work(f"load {image.image.environment} into podman"):
                _podman("pull", "--quiet", f"oci:{_FOLDER}:{name}", cwd=folder)


def _name(image: Wanted) -> None:
    """Give the image its name, and take away the one that the pull made of the folder's."""
    found = _inspect(image.config)
    if found is None:
        raise StoreError(
            f"{image.name}: expected podman to have the image {image.config} now, found none",
            hint="look at it with `podman images --no-trunc`, then run this again",
        )
    names = found.get("RepoTags") or []
    if f"localhost/{image.name}" not in names:
        _podman("tag", image.config, f"localhost/{image.name}")
    for name in names:
        if name.partition(":")[0] == f"localhost/{_FOLDER}":
            _podman("untag", image.config, name)


def _inspect(config: str) -> dict[str, Any] | None:
    """What podman knows of the image with this configuration, which is its id; ``None``: it has none."""
    if _run("image", "exists", config).returncode == 1:
        return None
    found = json.loads(_podman("image", "inspect", config))
    return dict(found[0])


def _podman(*arguments: str, cwd: Path | None = None) -> str:
    done = _run(*arguments, cwd=cwd)
    if done.returncode:
        said = done.stderr.strip()
        raise StoreError(
            f"podman {arguments[0]}: exit code {done.returncode}: {_last(said)}",
            hint="try `podman info`: flyte-build uses the storage that it shows",
            detail=said[-_SAID:] if "\n" in said else None,
        )
    return done.stdout


def _run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = ["podman", *arguments]
    return subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )


def _last(said: str) -> str:
    lines = said.splitlines()
    return lines[-1].removeprefix("Error: ") if lines else "it said nothing"
