"""Copied files and working directories → layers of files. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from ..kernel.canonical import Json
from ..recipe import CopyFiles, Recipe, WorkDir
from .nouns import Artifact, FileEntry, LayerDerivation
from .overlay import Owner
from .specs import layer_of

__all__ = ["each_once", "file_layers"]


def file_layers(
    recipe: Recipe,
    files: Mapping[int, Sequence[FileEntry]],
    owner: Owner,
    workdirs: Sequence[str],
    span: range,
    there: frozenset[str],
) -> list[LayerDerivation]:
    """The layers of the copies in ``span`` (the places of their steps), of which some may be equal.

    ``workdirs``: as :func:`.image_config.working_directories` has them; ``there``: folders that the image has by then;
    ``owner``: to whom belongs what no step gives to another.
    """
    layers = _workdir_layers(recipe, files, owner, workdirs, span, there)
    for index, copied in files.items():
        step = cast(CopyFiles, recipe.steps[index])
        to = Owner(*step.owner) if step.owner is not None else owner
        entries = sorted(copied, key=lambda e: e.path)
        artifacts = [Artifact(e.sha256, e.size, e.path) for e in entries if e.sha256 is not None]
        rows: list[Json] = []
        for e in entries:
            row: dict[str, Json] = {"path": e.path, "mode": e.mode, "uid": to.uid, "gid": to.gid}
            if e.sha256 is not None:
                row |= {"sha256": e.sha256, "size": e.size}
            elif e.link is not None:
                row["link"] = e.link
            else:
                row["dir"] = True
            rows.append(row)
        layers.append(layer_of("files", f"copy {step.source}", artifacts, files=rows))
    return layers


def each_once(layers: Sequence[LayerDerivation]) -> list[LayerDerivation]:
    """Without those that are another one again: for layers between which lies nothing that could change the first."""
    seen: dict[str, LayerDerivation] = {}
    for layer in layers:
        seen.setdefault(layer.hash, layer)
    return list(seen.values())


def _workdir_layers(
    recipe: Recipe,
    files: Mapping[int, Sequence[FileEntry]],
    owner: Owner,
    workdirs: Sequence[str],
    span: range,
    there: frozenset[str],
) -> list[LayerDerivation]:
    """The working directories that neither a copy makes nor the base has, as WORKDIR makes them, but the user's own:
    code is unpacked there."""
    copied = {entry.path for entries in files.values() for entry in entries}
    owners: dict[str, Owner] = {}
    for index, step in enumerate(recipe.steps[: span.stop]):
        if isinstance(step, WorkDir):
            path = workdirs[index + 1].strip("/")
            owners.setdefault(path, Owner(*step.owner) if step.owner is not None else owner)
            copied |= {path} if step.made else set()
    asked = sorted({d.strip("/") for d in workdirs[span.start : span.stop + 1]} - {*copied, *there, ""})
    rows: list[Json] = []
    for path in asked:
        to = owners.get(path, owner)
        rows.append({"path": path, "mode": 0o755, "uid": to.uid, "gid": to.gid, "dir": True})
    return [layer_of("files", "workdir " + " ".join(f"/{p}" for p in asked), [], files=rows)] if asked else []
