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
             On a ``python`` layer: its ``interpreter`` and ``version`` besides
``python``   ``{"python", "prefix", "archives": [{"file", "sha256"}]}``: a relocatable CPython, at ``prefix``
``wheels``   ``{"python", "venv", "wheels": [{"file", "sha256"}]}``: these wheels, installed
``files``    ``{"files": [{"path", "mode", "uid", "gid", and "sha256"+"size" | "link" | "dir": true}]}``
``base``     ``{"digest", "size", "diff_id", "media_type"}``: a layer of a registry base, which nobody makes
``packages`` ``{"debs": [{"file", "sha256"}]}``: Debian packages added to a registry base
``sealed``   ``{"digest", "size", "diff_id", "media_type"}``: what a sealed step changed (:mod:`.sealed`)
``bytecode`` ``{"python", "by", "folders", "rules", "of": a layer's spec}``: the modules of ``of``, compiled
``overlay``  ``{"entries": [{"path", "mode", "uid", "gid", and "text" | "link" | "dir": true} | {"path", "removed"}]}``

A ``wheels`` layer with ``"folders": false`` leaves the folders of a base's own virtual environment alone; with
``"part": {"number", "of", "ceiling"}`` it is one of several layers that its one wheel is spread over.

An image is ``{"schema", "platform", "layers", "config", "annotations"}``; ``config`` holds the OCI image
configuration's ``config`` object (OCI image-spec v1.1, config.md). On a registry base, ``history`` holds the base's; an
image that *is* its base has ``verbatim``: ``{"reference", "manifest", "config"}``, the latter two OCI descriptors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ..kernel.canonical import Json
from ..locks.base import LockedBase
from ..locks.nouns import Lock, LockedDeb, LockedPlatform
from ..locks.seals import CONFIGURED
from ..recipe import CopyFiles, Recipe
from ..recipe.conventions import USER, VENV
from .bytecode import bytecode_layer, interpreter_of, replaced_layer, standard_library
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
from .pythons import python_layers, system_fields
from .sealed import sealed_layers
from .specs import layer_of, named
from .wheel_layers import LARGE_WHEEL, MAX_LAYERS, Venv, check_layers, wheel_layers

__all__ = [
    "LARGE_WHEEL",
    "MAX_LAYERS",
    "Artifact",
    "FileEntry",
    "ImageDerivation",
    "LayerDerivation",
    "derive",
    "expand",
    "working_directories",
]

# The base has these, with owners and modes of its own.
SYSTEM_FOLDERS = frozenset({
    "bin", "boot", "dev", "etc", "home", "home/flyte", "lib", "mnt", "opt", "proc", "root", "run", "sbin", "srv",
    "sys", "tmp", "usr", "usr/local", "var", "var/tmp",
})  # fmt: skip
_FLYTE = Owner(int(str(USER["uid"])), int(str(USER["gid"])))


def derive(
    lock: Lock,
    recipe: Recipe,
    platform: str,
    files: Mapping[int, Sequence[FileEntry]] | None = None,
    *,
    below: int | None = None,
) -> ImageDerivation:
    """The derivation of ``recipe``'s image on ``platform`` under ``lock``.

    ``files`` holds, for each :class:`CopyFiles` step by its index in ``recipe.steps``, the entries to
    copy, with paths in the image (see ``flyte_build.deriving.local_files``). ``lock`` must answer ``recipe``.
    ``below``: only what lies below the sealed step at this index, or with ``CONFIGURED`` what dpkg configures packages
    over. Raises :class:`LockError` for a sealed step without a seal, or with a stale one.
    """
    if not lock.answers(recipe):
        raise ValueError(f"the lock of {lock.environment} does not answer this recipe")
    locked = lock.platforms[platform]
    asked = _Asked(lock.environment, locked, recipe, platform, files or {}, below)
    if locked.base is not None:
        return _on_base(asked, locked.base)
    layers = _debian_layers(locked, recipe)
    if below != CONFIGURED:
        by = interpreter_of(locked, str(recipe.python)) if recipe.bytecode else None
        venv = Venv(str(recipe.python), VENV, by=by)
        under = 3 + (locked.python is not None) + recipe.bytecode
        if locked.seal(CONFIGURED) is not None:
            layers += sealed_layers(lock.environment, recipe, locked, platform, CONFIGURED, layers)
            under += 1
        _steps(asked, layers, venv, under, _FLYTE, working_directories(recipe), SYSTEM_FOLDERS)
    return _image(asked, layers, debian_config(recipe), {})


@dataclass(frozen=True, slots=True)
class _Asked:
    """What :func:`derive` was asked for."""

    environment: str
    locked: LockedPlatform
    recipe: Recipe
    platform: str
    files: Mapping[int, Sequence[FileEntry]]
    below: int | None


def _steps(
    asked: _Asked,
    layers: list[LayerDerivation],
    venv: Venv | None,
    under: int,
    owner: Owner,
    workdirs: Sequence[str],
    there: frozenset[str],
) -> None:
    """Put the recipe's own layers on ``layers``: wheels, then files; up to each sealed step first, then its own layer.

    A sealed step sees what the steps before it made, and nothing of those after it. ``under``: layers to reckon with.
    """
    recipe, start, since = asked.recipe, 0, len(layers)
    for end in (*recipe.sealed_steps, len(recipe.steps)):
        if venv is not None:
            wheels = wheel_layers(asked.locked, recipe, venv, under, range(start, end))
            layers += wheels
            since = len(layers) if wheels else since
        files = {i: asked.files[i] for i in range(start, end) if isinstance(recipe.steps[i], CopyFiles)}
        layers += _file_layers(recipe, files, owner, workdirs[start : end + 1], there)
        layers[since:] = _each_once(layers[since:])
        if venv is not None and venv.by is not None:
            layers += replaced_layer(files.values(), recipe, asked.locked, venv.path)
        if end in (asked.below, len(recipe.steps)):
            return
        changed = sealed_layers(asked.environment, recipe, asked.locked, asked.platform, end, layers)
        layers += changed
        since = len(layers) if changed else since
        made = {entry.path for rows in files.values() for entry in rows}
        there = there | made | {folder.strip("/") for folder in workdirs[start : end + 1]}
        start = end + 1


def _image(
    asked: _Asked, layers: Sequence[LayerDerivation], config: Json, annotations: Json, **more: Json
) -> ImageDerivation:
    check_layers(asked.environment, asked.recipe, layers)
    environment, platform = asked.environment, asked.platform
    spec: dict[str, Json] = {
        "schema": 1,
        "platform": platform,
        "layers": [dict(layer.spec) for layer in layers],
        "config": config,
        "annotations": annotations,
        **more,
    }
    return ImageDerivation(environment, platform, tuple(layers), spec)


def _on_base(asked: _Asked, base: LockedBase) -> ImageDerivation:
    environment, locked, recipe = asked.environment, asked.locked, asked.recipe
    layers = [layer_of("base", str(row.pop("title")), [], **row) for row in layer_rows(base)]
    if recipe.as_is:
        return _image(asked, layers, dict(base.settings), {}, verbatim=verbatim(base))
    facts = facts_of(base, environment)
    layers += _apt_layers(locked, recipe)
    rows = overlay(recipe, locked, facts)
    if rows:
        layers.append(layer_of("overlay", "what the base lacks", [], entries=rows))
    venv = venv_of(recipe, facts)
    where = Venv(str(facts.minor), venv, facts.plain) if venv is not None else None
    folders = SYSTEM_FOLDERS | frozenset(folders_of(facts))
    _steps(asked, layers, where, len(layers), owner_of(recipe, facts), working_directories(recipe, base), folders)
    config = base_config(recipe, base, venv)
    return _image(asked, layers, config, base_annotations(base), history=history(base))


def _debs(debs: Sequence[LockedDeb]) -> list[Artifact]:
    ordered = sorted(debs, key=lambda d: (d.name, d.architecture))
    return [Artifact(d.sha256, d.size, d.file, d) for d in ordered]


def _debian_layers(locked: LockedPlatform, recipe: Recipe) -> list[LayerDerivation]:
    base = _debs([d for d in locked.debs if d.base])
    asked = _debs([d for d in locked.debs if not d.base])
    layers = [layer_of("debian", f"debian {locked.suite}", base, debs=named(base))]
    if recipe.bytecode and locked.python is None:
        layers.append(_standard(layers[-1], locked, recipe))
    if asked:
        names = " ".join(sorted(recipe.apt_packages))
        layers.append(layer_of("debian", f"apt {names}", asked, debs=named(asked)))
    if pythons := python_layers(locked):
        layers += [*pythons, _standard(pythons[-1], locked, recipe)] if recipe.bytecode else pythons
    everything = _debs(locked.debs)
    layers.append(
        layer_of(
            "system",
            "system files, user and venv",
            everything,
            suite=locked.suite,
            debs=named(everything),
            python=recipe.python,
            venv=VENV,
            user=cast(Json, USER),
            **system_fields(locked),
        )
    )
    return layers


def _standard(of: LayerDerivation, locked: LockedPlatform, recipe: Recipe) -> LayerDerivation:
    """The bytecode of the standard library, which lies in the interpreter's own layer."""
    python = str(recipe.python)
    return bytecode_layer(of, python, interpreter_of(locked, python), standard_library(locked, python))


def _apt_layers(locked: LockedPlatform, recipe: Recipe) -> list[LayerDerivation]:
    """Debian packages added to a registry base that is Debian itself."""
    asked = _debs(locked.debs)
    names = " ".join(sorted(recipe.apt_packages))
    return [layer_of("packages", f"apt {names}", asked, debs=named(asked))] if asked else []


def _file_layers(
    recipe: Recipe,
    files: Mapping[int, Sequence[FileEntry]],
    owner: Owner,
    workdirs: Sequence[str],
    there: frozenset[str],
) -> list[LayerDerivation]:
    layers = _workdir_layers(files, owner, workdirs, there)
    for index, copied in files.items():
        step = cast(CopyFiles, recipe.steps[index])
        entries = sorted(copied, key=lambda e: e.path)
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
        layers.append(layer_of("files", f"copy {step.source}", artifacts, files=rows))
    return layers


def _each_once(layers: Sequence[LayerDerivation]) -> list[LayerDerivation]:
    """Without those that are another one again: nothing lies between two copies that could have changed the first."""
    seen: dict[str, LayerDerivation] = {}
    for layer in layers:
        seen.setdefault(layer.hash, layer)
    return list(seen.values())


def _workdir_layers(
    files: Mapping[int, Sequence[FileEntry]], owner: Owner, workdirs: Sequence[str], there: frozenset[str]
) -> list[LayerDerivation]:
    """The working directories that neither a copy makes nor the base has, as WORKDIR makes them, but the user's own:
    code is unpacked there."""
    copied = {entry.path for entries in files.values() for entry in entries}
    asked = sorted({d.strip("/") for d in workdirs} - {*copied, *there, ""})
    row: dict[str, Json] = {"mode": 0o755, "uid": owner.uid, "gid": owner.gid, "dir": True}
    rows: list[Json] = [{"path": path, **row} for path in asked]
    return [layer_of("files", "workdir " + " ".join(f"/{p}" for p in asked), [], files=rows)] if asked else []
