"""Sealed steps in a derivation: what one runs on, as data with a digest, and its layer, named by the lock. Pure.

A step that runs programs is no function that anyone can prove, so its layer is not made from a derivation but taken by
the digest that the lock has. What it ran on is: ``on`` covers the layers below (by their derivations), the variables,
the working folder, the commands, and the rules of the sandbox (``SEALER``). A seal with another ``on`` is stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from ..assemble.version import ASSEMBLER
from ..kernel.canonical import Json, digest
from ..kernel.errors import LockError
from ..locks.base import LockedBase
from ..locks.nouns import LockedPlatform
from ..locks.seals import CONFIGURED
from ..recipe import Recipe, RunCommands
from .image_config import base_config, debian_config, working_directories
from .nouns import Artifact, LayerDerivation
from .overlay import facts_of, venv_of

__all__ = ["CONFIGURING", "SEALER", "Question", "question", "sealed_layers", "title_of"]

SEALER = 2
"""The rules of the sandbox and of the normal form: raised where the same step would give another layer."""

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_TITLE = 60


@dataclass(frozen=True, slots=True)
class Question:
    """What one sealed step is to run, and on what. ``environment``: its variables, as the image has them there."""

    title: str
    step: RunCommands
    environment: Mapping[str, str]
    workdir: str
    on: str


CONFIGURING = RunCommands(("sh /build/configure",))
"""What is run where dpkg configures packages; :mod:`flyte_build.building.configuring` lends the script."""


def title_of(step: RunCommands) -> str:
    """What a person sees: ``run`` and the first command, shortened."""
    first = " ".join(step.commands[0].split())
    shown = first if len(first) <= _TITLE else first[: _TITLE - 1] + "…"
    return f"run {shown}" + (f" (and {len(step.commands) - 1} more)" if len(step.commands) > 1 else "")


def question(
    environment: str, recipe: Recipe, locked: LockedPlatform, platform: str, index: int, below: Sequence[str]
) -> Question:
    """The question of the step at ``index``; ``below`` are the hashes of the layers under it, lowest first."""
    step = CONFIGURING if index == CONFIGURED else recipe.steps[index]
    assert isinstance(step, RunCommands)
    rows = _variables(environment, recipe, locked.base, max(index, 0))
    workdir = "/" if index == CONFIGURED else working_directories(recipe, locked.base)[index]
    on = digest(
        cast(
            Json,
            {
                "sealer": SEALER,
                "platform": platform,
                "below": list(below),
                "env": rows,
                "workdir": workdir,
                "step": step.to_json(),
            },
        )
    )
    variables = {name: value for name, _, value in (row.partition("=") for row in rows)}
    title = f"configure {' '.join(sorted(recipe.apt_packages))}" if index == CONFIGURED else title_of(step)
    return Question(title, step, variables, workdir, on)


def _variables(environment: str, recipe: Recipe, base: LockedBase | None, index: int) -> list[str]:
    """The variables in force at a step, as the image's configuration would have them."""
    so_far = replace(recipe, steps=recipe.steps[:index])
    if base is None:
        return cast("list[str]", debian_config(so_far)["Env"])
    venv = venv_of(recipe, facts_of(base, environment))
    return cast("list[str]", base_config(so_far, base, venv)["Env"])


def sealed_layers(
    environment: str,
    recipe: Recipe,
    locked: LockedPlatform,
    platform: str,
    index: int,
    below: Sequence[LayerDerivation],
) -> list[LayerDerivation]:
    """The layer of the step at ``index``, none where it changed nothing: nodes that stream images take no empty ones.

    Raises :class:`LockError` where it was never sealed, or on something else.
    """
    asked = question(environment, recipe, locked, platform, index, [layer.hash for layer in below])
    seal = locked.seal(index)
    if seal is None:
        raise LockError(
            f"{environment}: `{asked.title}` is not sealed for {platform}",
            hint=f"run `flyte-build lock` on a machine that runs programs for {platform}",
        )
    if seal.on != asked.on:
        raise LockError(
            f"{environment}: the seal of `{asked.title}` ({platform}) is stale: what it ran on is not what is below it "
            "now (packages, variables, folders or copied files)",
            hint="run `flyte-build lock`: it runs the step again",
        )
    if seal.empty:
        return []
    spec: dict[str, Json] = {
        "kind": "sealed",
        "assembler": ASSEMBLER,
        "title": asked.title,
        "digest": seal.digest,
        "size": seal.size,
        "diff_id": seal.diff_id,
        "media_type": _LAYER,
    }
    return [LayerDerivation(spec, (Artifact(seal.sha256, seal.size, seal.file, seal),))]
