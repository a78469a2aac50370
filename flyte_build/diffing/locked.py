"""A lock → its contents: packages with sizes and hashes, configuration, and the layers they will lie in.

The layers are those that this flyte-build derives from the lock, which is all that two locks need to tell what an
image will share with another. What copied files hold is not in a lock. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from ..deriving.derivation import derive
from ..kernel.canonical import Json
from ..kernel.errors import InputError
from ..locks.lockfile import Lock
from ..recipe import (
    AptInstall,
    CopyFiles,
    DebianBase,
    EnvVars,
    PipInstall,
    Platform,
    Recipe,
    RegistryBase,
    Step,
    WorkDir,
)
from .contents import Contents, of_derivation

__all__ = ["of_lock", "recipe_of"]

_NO_FILES = "a lock does not hold copied files"
_NOT_BUILT = "a lock does not hold what is in a layer"


def of_lock(lock: Lock, platform: str, subject: str) -> Contents:
    """The contents of ``lock`` on ``platform``; raises :class:`InputError` for a platform it is not for."""
    locked = lock.platforms.get(platform)
    if locked is None:
        raise InputError(
            f"{subject}: no such platform in the lock: `{platform}`; there are: {', '.join(sorted(lock.platforms))}"
        )
    base = {"base": locked.base.reference} if locked.base is not None else {}
    facts = {
        "platform": platform,
        "python": lock.python,
        **base,
        "suite": locked.suite,
        "snapshot": locked.snapshot,
        "resolver": f"{lock.resolver} {lock.resolver_version}",
        "cutoff": ", ".join([lock.cutoff or "none", *(f"{index}: {at}" for index, at in sorted(lock.cutoffs.items()))]),
        "solved apart": lock.apart or "no",
    }
    recipe = recipe_of(lock.recipe)
    if recipe is None:
        why = "the lock's recipe has a step that this flyte-build does not know"
        return Contents(
            subject,
            "lock",
            lock.fingerprint,
            facts,
            unknown=dict.fromkeys(("wheels", "debs", "config", "annotations", "layers", "files", "copied"), why),
        )
    copies = [i for i, step in enumerate(recipe.steps) if isinstance(step, CopyFiles)]
    answered = replace(lock, recipe=recipe.to_json())
    made = of_derivation(derive(answered, recipe, platform, dict.fromkeys(copies, ())), subject)
    # With copies, neither they nor the folders that WORKDIR makes for want of them are known.
    layers = tuple(
        replace(layer, derivation=None, files=None, because=_NO_FILES)
        if layer.kind == "files" and copies
        else replace(layer, because=_NOT_BUILT)
        for layer in made.layers or ()
    )
    unknown = {"copied": _NO_FILES, "files": "a lock does not hold files"}
    copied = None if copies else made.copied
    return replace(
        made, kind="lock", identity=lock.fingerprint, facts=facts, copied=copied, layers=layers, unknown=unknown
    )


def recipe_of(canonical: Json) -> Recipe | None:
    """The recipe that a lock holds in its canonical form, less the indexes, of which only digests are written down.

    ``None`` where it has a base or a step of a kind that is not known here.
    """
    raw = cast("dict[str, Json]", canonical)
    base = cast("dict[str, Json]", raw["base"])
    steps = [_step(step) for step in cast("list[dict[str, Json]]", raw.get("steps") or [])]
    if base.get("kind") not in ("debian", "registry") or None in steps:
        return None
    return Recipe(
        base=RegistryBase(str(base["reference"]), bool(base.get("official")))
        if base["kind"] == "registry"
        else DebianBase(str(base["suite"]), bool(base.get("standalone"))),
        platforms=tuple(cast("list[Platform]", raw["platforms"])),
        python=cast("str | None", raw["python"]),
        flyte=cast("str | None", raw["flyte"]),
        steps=tuple(step for step in steps if step is not None),
        layer_ceiling=cast("int | None", raw.get("layer_ceiling")),
    )


def _step(raw: Mapping[str, Json]) -> Step | None:
    kind = raw["kind"]
    if kind == "pip":
        return PipInstall(tuple(cast("list[str]", raw["requirements"])))
    if kind == "apt":
        return AptInstall(tuple(cast("list[str]", raw["packages"])))
    if kind == "env":
        return EnvVars(tuple((name, value) for name, value in cast("list[list[str]]", raw["variables"])))
    if kind == "workdir":
        return WorkDir(str(raw["path"]))
    if kind == "copy":
        return CopyFiles(str(raw["source"]), str(raw["destination"]), bool(raw["folder"]))
    return None
