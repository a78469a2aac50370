"""The recipe as a lock records it: an image derived from its lock alone, without the user's code or flyte.

A lock holds the canonical form of the recipe that it answers. Reading it back gives a recipe with that same canonical
form, so the same derivation; what the form leaves out on purpose (an index's address) is not there to be had, and who
needs it loads the project. Pure: no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ..kernel.canonical import Json
from ..kernel.errors import LockError
from ..locks.lockfile import Lock
from ..recipe import (
    AptInstall,
    Base,
    CondaInstall,
    CopyFiles,
    DebianBase,
    Delegation,
    EnvVars,
    ImageSettings,
    Mount,
    PipInstall,
    Recipe,
    RegistryBase,
    RunCommands,
    Scratch,
    SecretMount,
    SourceTree,
    Stage,
    Step,
    TreeCopy,
    UvProject,
    WorkDir,
)

__all__ = ["recorded_recipe"]

_HINT = "restore the file from version control, or run `flyte-build lock` again"


def recorded_recipe(lock: Lock) -> Recipe:
    """The recipe that ``lock`` answers: ``lock.answers(recorded_recipe(lock))`` always holds.

    Indexes are the digests of their addresses. Raises :class:`LockError` for a recipe of a kind that this flyte-build
    does not know, and never leaves out a part of one.
    """
    raw = cast("Mapping[str, Any]", lock.recipe)
    try:
        recipe = Recipe(
            base=_base(raw["base"]),
            platforms=tuple(raw["platforms"]),
            python=raw["python"],
            flyte=raw["flyte"],
            steps=_steps(raw["steps"]),
            layer_ceiling=raw.get("layer_ceiling"),
            bytecode=raw.get("bytecode") == "layer",
            stages=tuple(_stage(row) for row in raw.get("stages", ())),
            triggers=tuple((name, tuple(texts)) for name, texts in raw.get("triggers", {}).items()),
        )
        _check_stages(recipe)
        same = lock.answers(recipe)
    except (AttributeError, LookupError, TypeError, ValueError) as e:
        raise LockError(f"{lock.environment}: the lock's recipe cannot be read: {e!r}", hint=_HINT) from None
    if not same:
        raise LockError(
            f"{lock.environment}: the lock's recipe says something that this flyte-build does not know",
            hint="upgrade flyte-build, or lock again with this version",
        )
    return recipe


def _base(raw: Mapping[str, Any]) -> Base:
    if raw["kind"] == "debian":
        return DebianBase(raw["suite"], raw.get("standalone", False))
    if raw["kind"] == "registry":
        return RegistryBase(raw["reference"], raw.get("official", False))
    raise KeyError(raw["kind"])


def _steps(rows: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    return tuple(_STEPS[step["kind"]](step) for step in rows)


def _stage(raw: Mapping[str, Any]) -> Stage:
    base = Scratch() if raw["base"]["kind"] == "scratch" else _base(raw["base"])
    if isinstance(base, DebianBase):
        raise KeyError("debian")
    return Stage(raw["name"], base, _steps(raw["steps"]))


def _check_stages(recipe: Recipe) -> None:
    """Nothing is taken of a stage that is not there, or comes later."""
    for known, steps in (
        *((n, stage.steps) for n, stage in enumerate(recipe.stages)),
        (len(recipe.stages), recipe.steps),
    ):
        numbers = [number for step in steps if isinstance(step, RunCommands) for number in step.stages]
        if any(type(number) is not int or not 0 <= number < known for number in numbers):
            raise ValueError(f"expected the numbers of stages before it, found {numbers}")


def _settings(raw: Mapping[str, Any]) -> Step:
    """Of the types that the specification gives to fields."""
    for key, kind in (("User", str), ("Labels", dict), ("ExposedPorts", dict), ("Volumes", dict)):
        if not isinstance(raw.get(key, kind()), kind):
            raise TypeError(key)
    if not all(isinstance(text, str) for text in raw.get("Labels", {}).values()):
        raise TypeError("Labels")
    return ImageSettings(json.dumps(raw, sort_keys=True, ensure_ascii=False))


def _pip(raw: Mapping[str, Any]) -> Step:
    return PipInstall(
        requirements=tuple(raw["requirements"]),
        index=raw.get("index"),
        extra_indexes=tuple(raw.get("extra_indexes", ())),
        pre=raw.get("pre", False),
        constraints=tuple(raw.get("constraints", ())),
        wheels=tuple(raw.get("wheels", ())),
        hashes=tuple((name, tuple(allowed)) for name, allowed in raw.get("hashes", ())),
        uv=_uv(raw["uv"]) if "uv" in raw else None,
        sources=tuple(_source(row) for row in raw.get("sources", ())),
    )


def _source(raw: Mapping[str, Any]) -> SourceTree:
    return SourceTree(**{**raw, "extras": tuple(raw.get("extras", ()))})


def _uv(raw: Mapping[str, Any]) -> UvProject:
    return UvProject(
        file=raw["file"],
        asked=raw["asked"],
        locked=raw["locked"],
        lock=raw.get("lock"),
        options=tuple(raw.get("options", ())),
        indexes=tuple((name, tuple(names)) for name, names in raw.get("indexes", ())),
        installs=raw.get("installs", False),
        trees=raw.get("trees"),
    )


def _copy(raw: Mapping[str, Any]) -> Step:
    ignore, mode = tuple(raw.get("ignore", ())), raw.get("mode")
    at = (raw["url"], str(raw["sha256"]), int(raw["size"])) if "url" in raw else (None, None, None)
    return CopyFiles(
        raw["source"], raw["destination"], raw["folder"], ignore, None, False, _owner(raw.get("owner")), mode, *at
    )


def _owner(raw: Any) -> tuple[int, int] | None:
    return (raw[0], raw[1]) if raw is not None else None


def _commands(raw: Mapping[str, Any]) -> Step:
    return RunCommands(
        commands=tuple(raw["commands"]),
        secrets=tuple(SecretMount(**{**row, "owner": _owner(row.get("owner"))}) for row in raw.get("secrets", ())),
        user=raw.get("user"),
        mounts=tuple(Mount(**{**row, "owner": _owner(row.get("owner")) or (0, 0)}) for row in raw.get("mounts", ())),
        offline=raw.get("offline", False),
        copies=tuple(TreeCopy(**{**row, "sources": tuple(row["sources"])}) for row in raw.get("copies", ())),
        delegation=Delegation(**{**raw["delegation"], "images": tuple(raw["delegation"]["images"])})
        if "delegation" in raw
        else None,
        based=raw.get("based", False),
    )


def _conda(raw: Mapping[str, Any]) -> Step:
    return CondaInstall(**{key: value for key, value in raw.items() if key != "kind"})


_STEPS: Mapping[Json, Callable[[Mapping[str, Any]], Step]] = {
    "pip": _pip,
    "apt": lambda raw: AptInstall(tuple(raw["packages"])),
    "env": lambda raw: EnvVars(tuple((name, value) for name, value in raw["variables"])),
    "workdir": lambda raw: WorkDir(raw["path"], _owner(raw.get("owner")), raw.get("made", False)),
    "settings": lambda raw: _settings(raw["settings"]),
    "conda": _conda,
    "copy": _copy,
    "commands": _commands,
}
