"""Sealed steps in a derivation: what one runs on, as data with a digest, and its layer, named by the lock. Pure.

A step that runs programs is no function that anyone can prove, so its layer is not made from a derivation but taken by
the digest that the lock has. What it ran on is: ``on`` covers the layers below (by their derivations), the variables,
the working folder, the commands, the stages that they take files from, and the rules of the sandbox (``SEALER``). A
seal with another ``on`` is stale.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import cast

from ..assemble.version import ASSEMBLER
from ..kernel.canonical import Json, digest
from ..kernel.errors import LockError
from ..kernel.values import dataclass, field, replace
from ..locks.base import LockedBase
from ..locks.nouns import LockedPlatform
from ..locks.seals import CONFIGURED
from ..recipe import Recipe, RunCommands, Scratch
from .image_config import base_config, debian_config, expand, variables_of, working_directories
from .nouns import Artifact, ImageDerivation, LayerDerivation
from .overlay import facts_of, venv_of

__all__ = ["CONFIGURING", "SEALER", "Question", "question", "sealed_layers", "title_of"]

SEALER = 2
"""The rules of the sandbox and of the normal form: raised where the same step would give another layer."""

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_TITLE = 60


@dataclass(frozen=True, slots=True)
class Question:
    """What one sealed step is to run, and on what. ``environment``: its variables, as the image has them there;
    ``taken``: the images that it takes files from, by the numbers that ``step`` has for them; ``images``: by the names
    that a delegated Dockerfile has for them, as they are locked."""

    title: str
    step: RunCommands
    environment: Mapping[str, str]
    workdir: str
    on: str
    taken: tuple[ImageDerivation, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)


CONFIGURING = RunCommands(("sh /build/configure",))
"""What is run where dpkg configures packages; :mod:`flyte_build.building.configuring` lends the script."""


def title_of(step: RunCommands) -> str:
    """What a person sees: ``run`` and the first command, or the first copy, shortened."""
    first = " ".join(step.words[0].split())
    shown = first if len(first) <= _TITLE else first[: _TITLE - 1] + "…"
    more = f" (and {len(step.words) - 1} more)" if len(step.words) > 1 else ""
    return ("run " if step.commands else "") + shown + more


def question(
    environment: str,
    recipe: Recipe,
    locked: LockedPlatform,
    platform: str,
    index: int,
    below: Sequence[str],
    taken: Sequence[ImageDerivation] = (),
) -> Question:
    """The question of the step at ``index``; ``below`` are the hashes of the layers under it, lowest first, ``taken``
    the images of the stages that it takes files from, in their order."""
    step = CONFIGURING if index == CONFIGURED else recipe.steps[index]
    assert isinstance(step, RunCommands)
    rows = _variables(environment, recipe, locked.base, max(index, 0))
    workdir = "/" if index == CONFIGURED else working_directories(recipe, locked.base)[index]
    variables = {name: value for name, _, value in (row.partition("=") for row in rows)}
    title = f"configure {' '.join(sorted(recipe.apt_packages))}" if index == CONFIGURED else title_of(step)
    step = _settled(step, variables, locked.base)
    more = {"stages": [[layer.hash for layer in image.layers] for image in taken]} if taken else {}
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
                **more,
            },
        )
    )
    return Question(title, step, variables, workdir, on, tuple(taken), _images(recipe, locked, index))


def _images(recipe: Recipe, locked: LockedPlatform, index: int) -> dict[str, str]:
    """The images that a Dockerfile names, by digest, where the step at ``index`` delegates one."""
    step = recipe.steps[index] if index != CONFIGURED else None
    if not isinstance(step, RunCommands) or step.delegation is None or len(locked.stages) != len(recipe.stages):
        return {}
    bases = [(recipe.stages[n].name, locked.stages[n].base) for n in step.delegation.images]
    return {name: f"{base.repository}@{base.manifest.digest}" for name, base in bases if base is not None}


def _settled(step: RunCommands, variables: Mapping[str, str], base: LockedBase | None) -> RunCommands:
    """``step`` as it is on its base: who and what runs it, what variables come to, its stages numbered from 0."""
    user = step.user
    if user is not None:
        user = expand(user, variables) or str((base.settings.get("User") if base is not None else None) or "")
        user = None if user.partition(":")[0] in ("", "0", "root") and user.partition(":")[2] in _ROOTS else user
    numbers = {number: place for place, number in enumerate(step.stages)}
    copies = (
        replace(
            copy,
            stage=numbers.get(copy.stage, 0),
            destination=expand(copy.destination, variables),
            chown=expand(copy.chown, variables),
        )
        for copy in step.copies
    )
    mounts = (replace(m, stage=numbers[m.stage]) if m.stage is not None else m for m in step.mounts)
    whole = step.delegation
    if whole is not None:
        images = tuple(numbers[number] for number in whole.images)
        whole = replace(whole, images=images, context=numbers[whole.context])
    commands, said = step.commands, base.settings.get("Shell") if base is not None else None
    if step.based and isinstance(said, list):
        commands = tuple(shlex.join((*map(str, said), command)) for command in commands)
    return replace(
        step,
        commands=commands,
        user=user,
        copies=tuple(copies),
        mounts=tuple(mounts),
        delegation=whole,
        based=False,
    )


_ROOTS = ("", "0", "root")


def _variables(environment: str, recipe: Recipe, base: LockedBase | None, index: int) -> list[str]:
    """The variables in force at a step, as the image's configuration would have them."""
    so_far = replace(recipe, steps=recipe.steps[:index])
    if base is None and not isinstance(recipe.base, Scratch):
        return cast("list[str]", debian_config(so_far)["Env"])
    if base is None or base.facts is None:
        return variables_of(so_far, base)
    venv = venv_of(recipe, facts_of(base, environment))
    return cast("list[str]", base_config(so_far, base, venv)["Env"])


def sealed_layers(
    environment: str,
    recipe: Recipe,
    locked: LockedPlatform,
    platform: str,
    index: int,
    below: Sequence[LayerDerivation],
    taken: Sequence[ImageDerivation] | None = (),
) -> list[LayerDerivation]:
    """The layer of the step at ``index``, none where it changed nothing: nodes that stream images take no empty ones.

    ``taken`` as :func:`question` has it, ``None`` where nobody can tell: then the seal is believed. Raises
    :class:`LockError` where it was never sealed, or on something else.
    """
    asked = question(environment, recipe, locked, platform, index, [layer.hash for layer in below], taken or ())
    seal = locked.seal(index)
    if seal is None:
        raise LockError(
            f"{environment}: `{asked.title}` is not sealed for {platform}",
            hint=f"run `flyte-build lock` on a machine that runs programs for {platform}",
        )
    if seal.on != asked.on and taken is not None:
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
