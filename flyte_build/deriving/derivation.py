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
``conda``    ``{"prefix", "site", "packages": [{"file", "sha256"}]}``: conda packages in an environment at
             ``prefix``, whose Python has its packages at ``site`` below it
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
from typing import cast

from ..kernel.canonical import Json
from ..kernel.values import dataclass, replace
from ..locks.base import LockedBase
from ..locks.nouns import Lock, LockedDeb, LockedPlatform
from ..locks.seals import CONFIGURED
from ..recipe import CopyFiles, Recipe, RunCommands, Scratch
from ..recipe.conventions import USER, VENV
from .bytecode import bytecode_layer, interpreter_of, replaced_layer, standard_library
from .conda import conda_layers, site_of
from .file_layers import each_once, file_layers
from .image_config import base_config, debian_config, expand, kept_settings, working_directories
from .nouns import Artifact, Copied, FileEntry, ImageDerivation, LayerDerivation
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
    "base_layers",
    "derive",
    "expand",
    "stage_of",
    "taken_by",
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
    stages: dict[int, ImageDerivation] | None = None,
) -> ImageDerivation:
    """The derivation of ``recipe``'s image on ``platform`` under ``lock``.

    ``files`` holds, for each :class:`CopyFiles` step by its index in ``recipe.steps``, the entries to
    copy, with paths in the image (see ``flyte_build.deriving.local_files``). ``lock`` must answer ``recipe``.
    ``below``: only what lies below the sealed step at this index, or with ``CONFIGURED`` what dpkg configures packages
    over. ``stages``: the images of the recipe's stages that are known, by number, which others join. Raises
    :class:`LockError` for a sealed step without a seal, or with a stale one.
    """
    if not lock.answers(recipe):
        raise ValueError(f"the lock of {lock.environment} does not answer this recipe")
    locked = lock.platforms[platform]
    asked = _Asked(
        lock, locked, recipe, platform, files if files is not None else {}, below, {} if stages is None else stages
    )
    if isinstance(recipe.base, Scratch):
        nothing: list[LayerDerivation] = []
        _steps(asked, nothing, None, 0, Owner(0, 0), working_directories(recipe), frozenset())
        return _image(asked, nothing, {}, {})
    if locked.base is not None:
        return _on_base(asked, locked.base)
    layers = _debian_layers(locked, recipe)
    if below != CONFIGURED:
        by = interpreter_of(locked, str(recipe.python)) if recipe.bytecode else None
        conda = conda_layers(locked, recipe)
        venv = Venv(str(recipe.python), VENV, by=by) if recipe.conda is None else site_of(recipe.conda)
        under = 3 + (locked.python is not None) + recipe.bytecode + len(conda)
        if locked.seal(CONFIGURED) is not None:
            layers += sealed_layers(lock.environment, recipe, locked, platform, CONFIGURED, layers)
            under += 1
        layers += conda
        _steps(asked, layers, venv, under, _FLYTE, working_directories(recipe), SYSTEM_FOLDERS)
    return _image(asked, layers, debian_config(recipe), {})


@dataclass(frozen=True, slots=True)
class _Asked:
    """What :func:`derive` was asked for."""

    lock: Lock
    locked: LockedPlatform
    recipe: Recipe
    platform: str
    files: Mapping[int, Sequence[FileEntry]]
    below: int | None
    stages: dict[int, ImageDerivation]

    @property
    def environment(self) -> str:
        return self.lock.environment


def stage_of(
    lock: Lock,
    recipe: Recipe,
    platform: str,
    files: Mapping[int, Sequence[FileEntry]],
    number: int,
) -> tuple[Lock, Recipe, Mapping[int, Sequence[FileEntry]]]:
    """What :func:`derive` takes for the image of the stage ``number`` of ``recipe``: a lock of it alone, its recipe and
    its files."""
    part, locked = recipe.stage(number), lock.platforms[platform].stage(number)
    copied = files.stages[number] if isinstance(files, Copied) and files.stages else {}
    return replace(lock, recipe=part.to_json(), platforms={platform: locked}), part, copied


def taken_by(
    lock: Lock,
    recipe: Recipe,
    platform: str,
    files: Mapping[int, Sequence[FileEntry]],
    index: int,
    known: dict[int, ImageDerivation] | None = None,
) -> list[ImageDerivation] | None:
    """The images that the step at ``index`` takes files from, in the order of its ``stages``; ``None`` where ``files``
    does not say what is copied into stages. ``known``: those that are there, by number. Raises as :func:`derive` does.
    """
    step = recipe.steps[index]
    numbers = step.stages if isinstance(step, RunCommands) else ()
    copies = any(isinstance(s, CopyFiles) for stage in recipe.stages for s in stage.steps)
    if numbers and copies and not (isinstance(files, Copied) and files.stages):
        return None
    # A stage knows those before it by the same numbers, so that each is derived once.
    known = {} if known is None else known
    for number in numbers:
        if number not in known:
            low, part, copied = stage_of(lock, recipe, platform, files, number)
            known[number] = derive(low, part, platform, copied, stages=known)
    return [known[number] for number in numbers]


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
        layers += file_layers(recipe, files, owner, workdirs, range(start, end), there)
        layers[since:] = each_once(layers[since:])
        if venv is not None and venv.by is not None:
            layers += replaced_layer(files.values(), recipe, asked.locked, venv.path)
        if end in (asked.below, len(recipe.steps)):
            return
        taken = taken_by(asked.lock, recipe, asked.platform, asked.files, end, asked.stages)
        changed = sealed_layers(asked.environment, recipe, asked.locked, asked.platform, end, layers, taken)
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


def base_layers(base: LockedBase) -> list[LayerDerivation]:
    """The layers of a registry base, lowest first, which nobody makes."""
    return [layer_of("base", str(row.pop("title")), [], **row) for row in layer_rows(base)]


def _on_base(asked: _Asked, base: LockedBase) -> ImageDerivation:
    environment, locked, recipe = asked.environment, asked.locked, asked.recipe
    layers = base_layers(base)
    if recipe.as_is:
        return _image(asked, layers, kept_settings(base), {}, verbatim=verbatim(base))
    facts = facts_of(base, environment)
    layers += _apt_layers(locked, recipe)
    rows = overlay(recipe, locked, facts)
    if rows:
        layers.append(layer_of("overlay", "what the base lacks", [], entries=rows))
    layers += conda_layers(locked, recipe)
    venv = venv_of(recipe, facts)
    where = Venv(str(facts.minor), venv, facts.plain) if venv is not None else None
    where = where if recipe.conda is None else site_of(recipe.conda)
    folders = SYSTEM_FOLDERS | frozenset(folders_of(facts))
    _steps(asked, layers, where, len(layers), owner_of(recipe, facts), working_directories(recipe, base), folders)
    config = _delegated(recipe, locked) or base_config(recipe, base, venv)
    return _image(asked, layers, config, base_annotations(base), history=history(base))


def _delegated(recipe: Recipe, locked: LockedPlatform) -> dict[str, Json]:
    """The configuration that another builder gave to the image, where one has built it."""
    for index in recipe.sealed_steps:
        step, seal = recipe.steps[index], locked.seal(index)
        if isinstance(step, RunCommands) and step.delegation is not None and seal is not None:
            return dict(seal.config or {})
    return {}


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
