"""Lock → derivation: what an image is made of, as data with a hash. Pure: no I/O.

A derivation is canonical JSON that the assembler executes as it stands (``python -m
flyte_build.assemble PLAN OUT``), here as from Nix and Bazel. It names bytes by SHA-256 only, so it
covers everything that can change the image and nothing else (law 2). Each layer has a derivation of
its own: equal layers of different images have equal hashes, which is all that sharing is (law 7).

Layer kinds (every layer object carries ``"assembler"``, the version of the rules that make its bytes,
and ``"title"``, which is shown in the image's history):

``debian``   ``{"debs": [{"file", "sha256"}]}``: the files of these packages, merged
``system``   ``{"suite", "debs": [all of the image's], "python", "venv", "user": {"name", "uid", "gid", "home"}}``:
             what maintainer scripts would have made, the user, and the venv's skeleton
``wheels``   ``{"python", "venv", "wheels": [{"file", "sha256"}]}``: these wheels, installed
``files``    ``{"files": [{"path", "mode", "uid", "gid", and "sha256"+"size" | "link" | "dir": true}]}``
``base``     ``{"digest", "size", "diff_id", "media_type"}``: a layer of a registry base, which nobody makes
``packages`` ``{"debs": [{"file", "sha256"}]}``: Debian packages added to a registry base
``overlay``  ``{"entries": [{"path", "mode", "uid", "gid", and "text" | "link" | "dir": true} | {"path", "removed"}]}``

A ``wheels`` layer with ``"folders": false`` leaves the folders of a base's own virtual environment alone.

An image is ``{"schema", "platform", "layers", "config", "annotations"}``; ``config`` holds the OCI image
configuration's ``config`` object (OCI image-spec v1.1, config.md). On a registry base, ``history`` holds the base's; an
image that *is* its base has ``verbatim``: ``{"reference", "manifest", "config"}``, the latter two OCI descriptors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ..assemble.version import ASSEMBLER
from ..kernel.canonical import Json
from ..locks.base import LockedBase
from ..locks.nouns import Lock, LockedDeb, LockedPlatform, LockedWheel
from ..recipe import CopyFiles, Recipe
from ..recipe.conventions import USER, VENV
from .image_config import base_config, debian_config, expand, working_directories
from .nouns import Artifact, FileEntry, ImageDerivation, LayerDerivation
from .overlay import (
    Owner,
    base_annotations,
    facts_of,
    folders_of,
    history,
    layer_rows,
    overlay,
    owner_of,
    venv_of,
    verbatim,
)

__all__ = [
    "Artifact",
    "FileEntry",
    "ImageDerivation",
    "LayerDerivation",
    "derive",
    "expand",
    "working_directories",
]

# A wheel of at least this size is worth a layer of its own: it is fetched, stored and pulled alone.
LARGE_WHEEL = 4 << 20
# OCI sets no limit; overlayfs and the engines do (127 in Docker, ~125 in podman). Room is left for children.
MAX_LAYERS = 100
# The base has these, with owners and modes of its own.
SYSTEM_FOLDERS = frozenset({
    "bin", "boot", "dev", "etc", "home", "home/flyte", "lib", "mnt", "opt", "proc", "root", "run", "sbin", "srv",
    "sys", "tmp", "usr", "usr/local", "var", "var/tmp",
})  # fmt: skip
_FLYTE = Owner(int(str(USER["uid"])), int(str(USER["gid"])))


def derive(
    lock: Lock, recipe: Recipe, platform: str, files: Mapping[int, Sequence[FileEntry]] | None = None
) -> ImageDerivation:
    """The derivation of ``recipe``'s image on ``platform`` under ``lock``.

    ``files`` holds, for each :class:`CopyFiles` step by its index in ``recipe.steps``, the entries to
    copy, with paths in the image (see ``flyte_build.deriving.local_files``). ``lock`` must answer ``recipe``.
    """
    if not lock.answers(recipe):
        raise ValueError(f"the lock of {lock.environment} does not answer this recipe")
    locked = lock.platforms[platform]
    if locked.base is not None:
        return _on_base(lock.environment, locked, locked.base, recipe, platform, files or {})
    layers = [
        *_debian_layers(locked, recipe),
        *_wheel_layers(locked, recipe, _Venv(str(recipe.python), VENV), 3),
        *_file_layers(recipe, files or {}, _FLYTE, working_directories(recipe), SYSTEM_FOLDERS),
    ]
    return _image(lock.environment, platform, layers, debian_config(recipe), {})


def _image(
    environment: str,
    platform: str,
    layers: Sequence[LayerDerivation],
    config: Json,
    annotations: Json,
    **more: Json,
) -> ImageDerivation:
    spec: dict[str, Json] = {
        "schema": 1,
        "platform": platform,
        "layers": [dict(layer.spec) for layer in layers],
        "config": config,
        "annotations": annotations,
        **more,
    }
    return ImageDerivation(environment, platform, tuple(layers), spec)


def _on_base(
    environment: str,
    locked: LockedPlatform,
    base: LockedBase,
    recipe: Recipe,
    platform: str,
    files: Mapping[int, Sequence[FileEntry]],
) -> ImageDerivation:
    layers = [_layer("base", str(row.pop("title")), [], **row) for row in layer_rows(base)]
    if recipe.as_is:
        return _image(environment, platform, layers, dict(base.settings), {}, verbatim=verbatim(base))
    facts = facts_of(base, environment)
    layers += _apt_layers(locked, recipe)
    rows = overlay(recipe, locked, facts)
    if rows:
        layers.append(_layer("overlay", "what the base lacks", [], entries=rows))
    venv = venv_of(recipe, facts)
    if venv is not None:
        layers += _wheel_layers(locked, recipe, _Venv(str(facts.minor), venv, facts.plain), len(layers))
    folders = SYSTEM_FOLDERS | frozenset(folders_of(facts))
    layers += _file_layers(recipe, files, owner_of(recipe, facts), working_directories(recipe, base), folders)
    config = base_config(recipe, base, venv)
    return _image(environment, platform, layers, config, base_annotations(base), history=history(base))


def _layer(kind: str, title: str, artifacts: Sequence[Artifact], **fields: Json) -> LayerDerivation:
    return LayerDerivation({"kind": kind, "assembler": ASSEMBLER, "title": title, **fields}, tuple(artifacts))


def _named(artifacts: Sequence[Artifact]) -> Json:
    return [{"file": a.file, "sha256": a.sha256} for a in artifacts]


def _debs(debs: Sequence[LockedDeb]) -> list[Artifact]:
    ordered = sorted(debs, key=lambda d: (d.name, d.architecture))
    return [Artifact(d.sha256, d.size, d.file, d) for d in ordered]


def _debian_layers(locked: LockedPlatform, recipe: Recipe) -> list[LayerDerivation]:
    base = _debs([d for d in locked.debs if d.base])
    asked = _debs([d for d in locked.debs if not d.base])
    layers = [_layer("debian", f"debian {locked.suite}", base, debs=_named(base))]
    if asked:
        names = " ".join(sorted(recipe.apt_packages))
        layers.append(_layer("debian", f"apt {names}", asked, debs=_named(asked)))
    everything = _debs(locked.debs)
    layers.append(
        _layer(
            "system",
            "system files, user and venv",
            everything,
            suite=locked.suite,
            debs=_named(everything),
            python=recipe.python,
            venv=VENV,
            user=cast(Json, USER),
        )
    )
    return layers


def _apt_layers(locked: LockedPlatform, recipe: Recipe) -> list[LayerDerivation]:
    """Debian packages added to a registry base that is Debian itself."""
    asked = _debs(locked.debs)
    names = " ".join(sorted(recipe.apt_packages))
    return [_layer("packages", f"apt {names}", asked, debs=_named(asked))] if asked else []


@dataclass(frozen=True, slots=True)
class _Venv:
    """Where wheels go. ``plain``: the folders on the way are root's, 0755, as every layer of wheels has them."""

    python: str
    path: str
    plain: bool = True


def _wheels(title: str, wheels: Sequence[LockedWheel], venv: _Venv) -> LayerDerivation:
    ordered = sorted(wheels, key=lambda w: (w.name, w.file))
    artifacts = [Artifact(w.sha256, w.size, w.file, w) for w in ordered]
    more: dict[str, Json] = {} if venv.plain else {"folders": False}
    return _layer("wheels", title, artifacts, python=venv.python, venv=venv.path, wheels=_named(artifacts), **more)


def _wheel_layers(locked: LockedPlatform, recipe: Recipe, venv: _Venv, below: int) -> list[LayerDerivation]:
    """The runtime; then, step by step, one layer for each large wheel and one for the small ones together.

    A step's small wheels share a layer because a hundred small layers cost more (requests, mounts) than the
    bytes that one change re-sends. Where the total would pass ``MAX_LAYERS``, the smallest of the large
    wheels go with the small ones, whichever step they are of. ``below`` are the layers under them.
    """
    steps = sorted({w.step for w in locked.wheels})
    copies = sum(isinstance(s, CopyFiles) for s in recipe.steps)
    room = MAX_LAYERS - below - len(steps) - copies
    large = sorted((w for w in locked.wheels if w.step > 0 and w.size >= LARGE_WHEEL), key=lambda w: (-w.size, w.name))
    alone = {w.name for w in large[: max(room, 0)]}
    layers: list[LayerDerivation] = []
    for step in steps:
        members = sorted((w for w in locked.wheels if w.step == step), key=lambda w: w.name)
        layers.extend(_wheels(f"{w.name} {w.version}", [w], venv) for w in members if w.name in alone)
        small = [w for w in members if w.name not in alone]
        if small:
            if step == 0:
                flyte = next((w for w in small if w.name == "flyte"), None)
                title = f"flyte runtime {flyte.version}" if flyte else "runtime"
            else:
                title = ", ".join(f"{w.name} {w.version}" for w in small)
            layers.append(_wheels(title, small, venv))
    return layers


def _file_layers(
    recipe: Recipe,
    files: Mapping[int, Sequence[FileEntry]],
    owner: Owner,
    workdirs: Sequence[str],
    there: frozenset[str],
) -> list[LayerDerivation]:
    layers = _workdir_layers(files, owner, workdirs, there)
    for index, step in enumerate(recipe.steps):
        if not isinstance(step, CopyFiles):
            continue
        entries = sorted(files[index], key=lambda e: e.path)
        artifacts = [Artifact(e.sha256, e.size, e.path) for e in entries if e.sha256 is not None]
        rows: list[Json] = []
        for e in entries:
            row: dict[str, Json] = {"path": e.path, "mode": e.mode, "uid": owner.uid, "gid": owner.gid}
            if e.sha256 is not None:
                row |= {"sha256": e.sha256, "size": e.size}
            elif e.link is not None:
                row["link"] = e.link
            else:
                row["dir"] = True
            rows.append(row)
        layers.append(_layer("files", f"copy {step.source}", artifacts, files=rows))
    return layers


def _workdir_layers(
    files: Mapping[int, Sequence[FileEntry]], owner: Owner, workdirs: Sequence[str], there: frozenset[str]
) -> list[LayerDerivation]:
    """The working directories that neither a copy makes nor the base has, as WORKDIR makes them, but the user's own:
    code is unpacked there."""
    copied = {entry.path for entries in files.values() for entry in entries}
    asked = sorted({d.strip("/") for d in workdirs} - {*copied, *there, ""})
    row: dict[str, Json] = {"mode": 0o755, "uid": owner.uid, "gid": owner.gid, "dir": True}
    rows: list[Json] = [{"path": path, **row} for path in asked]
    return [_layer("files", "workdir " + " ".join(f"/{p}" for p in asked), [], files=rows)] if asked else []
