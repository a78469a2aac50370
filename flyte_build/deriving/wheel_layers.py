"""Which wheels lie in which layers, and of what the modules' bytecode lies beside them. Pure.

One layer for each large wheel, one for the small ones of a step (``docs/layers.md``). ``rules/`` has the same grouping
in Nix's and Bazel's languages, and a test holds them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..kernel.canonical import Json
from ..locks.nouns import LockedPlatform, LockedWheel
from ..recipe import CopyFiles, PipInstall, Recipe, RunCommands
from .bytecode import bytecode_layer, site_packages
from .nouns import Artifact, LayerDerivation
from .specs import layer_of, named

__all__ = ["LARGE_WHEEL", "MAX_LAYERS", "Venv", "wheel_layers"]

# A wheel of at least this size is worth a layer of its own: it is fetched, stored and pulled alone.
LARGE_WHEEL = 4 << 20
# OCI sets no limit; overlayfs and the engines do (127 in Docker, ~125 in podman). Room is left for children.
MAX_LAYERS = 100


@dataclass(frozen=True, slots=True)
class Venv:
    """Where wheels go. ``plain``: the folders on the way are root's, 0755, as every layer of wheels has them. ``by``:
    the interpreter that their bytecode is made by, where they get any."""

    python: str
    path: str
    plain: bool = True
    by: str | None = None


def _wheels(title: str, wheels: Sequence[LockedWheel], venv: Venv) -> LayerDerivation:
    ordered = sorted(wheels, key=lambda w: (w.name, w.file))
    artifacts = [Artifact(w.sha256, w.size, w.file, w) for w in ordered]
    more: dict[str, Json] = {} if venv.plain else {"folders": False}
    return layer_of("wheels", title, artifacts, python=venv.python, venv=venv.path, wheels=named(artifacts), **more)


def wheel_layers(locked: LockedPlatform, recipe: Recipe, venv: Venv, below: int, span: range) -> list[LayerDerivation]:
    """The runtime; then, step by step, one layer for each large wheel and one for the small ones together.

    A step's small wheels share a layer because a hundred small layers cost more (requests, mounts) than the
    bytes that one change re-sends. Where the total would pass ``MAX_LAYERS``, the smallest of the large
    wheels go with the small ones, whichever step they are of. ``below`` are the layers under them. Only those of steps
    in ``span`` are given; the runtime is with the first.
    """
    steps = sorted({w.step for w in locked.wheels})
    others = sum(isinstance(s, CopyFiles | RunCommands) for s in recipe.steps)
    room = MAX_LAYERS - below - len(steps) - others
    if venv.by is not None:  # each has another one beside it
        room = (room - len(steps)) // 2
    large = sorted((w for w in locked.wheels if w.step > 0 and w.size >= LARGE_WHEEL), key=lambda w: (-w.size, w.name))
    alone = {w.name for w in large[: max(room, 0)]}
    layers: list[LayerDerivation] = []

    def put(title: str, wheels: Sequence[LockedWheel]) -> None:
        layers.append(_wheels(title, wheels, venv))
        if venv.by is not None:
            layers.append(bytecode_layer(layers[-1], venv.python, venv.by, site_packages(venv.path, venv.python)))

    places = dict(enumerate((i for i, s in enumerate(recipe.steps) if isinstance(s, PipInstall)), 1))
    for step in steps:
        place = places.get(step, 0)
        if place not in span and not place == span.start == 0:
            continue
        members = sorted((w for w in locked.wheels if w.step == step), key=lambda w: w.name)
        for w in members:
            if w.name in alone:
                put(f"{w.name} {w.version}", [w])
        small = [w for w in members if w.name not in alone]
        if small:
            if step == 0:
                flyte = next((w for w in small if w.name == "flyte"), None)
                title = f"flyte runtime {flyte.version}" if flyte else "runtime"
            else:
                title = ", ".join(f"{w.name} {w.version}" for w in small)
            put(title, small)
    return layers
