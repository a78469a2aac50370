"""Locked wheels → layers: the runtime's, one for each large wheel, and for each step one of its small ones. Pure.

A wheel that is larger than the ceiling on a layer is spread over several, and so are a step's small ones. All of it
follows from the lock alone, because Nix and Bazel have to know it before anything is there (``rules/``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..assemble.version import ASSEMBLER
from ..kernel.canonical import Json
from ..kernel.errors import LockError
from ..kernel.values import dataclass
from ..locks.nouns import LockedPlatform, LockedWheel
from ..recipe import CopyFiles, PipInstall, Recipe, RunCommands
from ..recipe.conventions import LAYER_CEILING
from .bytecode import bytecode_layer, site_packages
from .nouns import Artifact, LayerDerivation

__all__ = ["LARGE_WHEEL", "MAX_LAYERS", "Venv", "check_layers", "parts", "wheel_layers"]

# A wheel of at least this size is worth a layer of its own: it is fetched, stored and pulled alone.
LARGE_WHEEL = 4 << 20
# OCI sets no limit; overlayfs and the engines do (127 in Docker, ~125 in podman). Room is left for children.
MAX_LAYERS = 100
_ENGINES = 125


@dataclass(frozen=True, slots=True)
class Venv:
    """Where wheels go. ``plain``: the folders on the way are root's, 0755, as every layer of wheels has them. ``by``:
    the interpreter that their bytecode is made by, where they get any."""

    python: str
    path: str
    plain: bool = True
    by: str | None = None


def parts(size: int, ceiling: int) -> int:
    """How many layers a wheel of ``size`` bytes is spread over, each below ``ceiling`` where its files are.

    Twice what the bytes alone would need: files do not fill layers to the brim, but two that cannot be one are more
    than ``ceiling`` together. What a layer has of each file is less than what the wheel has, directory included.
    """
    return 1 if size <= ceiling else -(-2 * size // ceiling)


def wheel_layers(locked: LockedPlatform, recipe: Recipe, venv: Venv, below: int, span: range) -> list[LayerDerivation]:
    """The runtime; then, step by step, one layer for each large wheel and one for the small ones together.

    A step's small wheels share a layer because a hundred small layers cost more (requests, mounts) than the
    bytes that one change re-sends. Where the total would pass ``MAX_LAYERS``, the smallest of the large
    wheels go with the small ones, whichever step they are of. ``below`` are the layers under them. Only those of steps
    in ``span`` are given; the runtime is with the first.
    """
    ceiling = recipe.layer_ceiling or LAYER_CEILING
    steps = sorted({w.step for w in locked.wheels})
    others = sum(isinstance(s, CopyFiles | RunCommands) for s in recipe.steps)
    spread = {w.name: parts(w.size, ceiling) for w in locked.wheels if w.size > ceiling}
    # With bytecode, each has another one beside it.
    room = (MAX_LAYERS - below - others) // (1 if venv.by is None else 2) - len(steps) - sum(spread.values())
    large = sorted(
        (w for w in locked.wheels if w.step > 0 and w.size >= LARGE_WHEEL and w.name not in spread),
        key=lambda w: (-w.size, w.name),
    )
    alone = {w.name for w in large[: max(room, 0)]} | spread.keys()
    layers: list[LayerDerivation] = []
    places = dict(enumerate((i for i, s in enumerate(recipe.steps) if isinstance(s, PipInstall)), 1))
    for step in steps:
        place = places.get(step, 0)
        if place not in span and not place == span.start == 0:
            continue
        members = sorted((w for w in locked.wheels if w.step == step), key=lambda w: w.name)
        for wheel in (w for w in members if w.name in alone):
            layers += _alone(wheel, venv, spread.get(wheel.name, 1), ceiling)
        groups = list(_groups([w for w in members if w.name not in alone], ceiling))
        layers += [_wheels(_title(group, step, len(groups)), group, venv) for group in groups]
    return layers if venv.by is None else [x for layer in layers for x in (layer, _beside(layer, venv, venv.by))]


def _beside(layer: LayerDerivation, venv: Venv, by: str) -> LayerDerivation:
    return bytecode_layer(layer, venv.python, by, site_packages(venv.path, venv.python))


def _alone(wheel: LockedWheel, venv: Venv, count: int, ceiling: int) -> Iterator[LayerDerivation]:
    title = f"{wheel.name} {wheel.version}"
    if count == 1:
        yield _wheels(title, [wheel], venv)
        return
    for number in range(1, count + 1):
        part: Json = {"number": number, "of": count, "ceiling": ceiling}
        yield _wheels(f"{title} (part {number} of {count})", [wheel], venv, part=part)


def _groups(wheels: Sequence[LockedWheel], ceiling: int) -> Iterator[list[LockedWheel]]:
    """``wheels`` in layers of at most ``ceiling``. In the order of file names, which says within one layer whose file
    of several is there, so that the upper layer's is the same."""
    group: list[LockedWheel] = []
    for wheel in sorted(wheels, key=lambda w: w.file):
        if group and sum(w.size for w in group) + wheel.size > ceiling:
            yield sorted(group, key=lambda w: w.name)
            group = []
        group.append(wheel)
    if group:
        yield sorted(group, key=lambda w: w.name)


def _title(group: Sequence[LockedWheel], step: int, groups: int) -> str:
    flyte = next((w for w in group if w.name == "flyte"), None)
    if step == 0 and (flyte or groups == 1):
        return f"flyte runtime {flyte.version}" if flyte else "runtime"
    return ", ".join(f"{w.name} {w.version}" for w in group)


def _wheels(title: str, wheels: Sequence[LockedWheel], venv: Venv, **more: Json) -> LayerDerivation:
    ordered = sorted(wheels, key=lambda w: (w.name, w.file))
    rows: Json = [{"file": w.file, "sha256": w.sha256} for w in ordered]
    folders: dict[str, Json] = {} if venv.plain else {"folders": False}
    spec: dict[str, Json] = {
        "kind": "wheels",
        "assembler": ASSEMBLER,
        "title": title,
        "python": venv.python,
        "venv": venv.path,
        "wheels": rows,
        **folders,
        **more,
    }
    return LayerDerivation(spec, tuple(Artifact(w.sha256, w.size, w.file, w) for w in ordered))


def check_layers(environment: str, recipe: Recipe, layers: Sequence[LayerDerivation]) -> None:
    """Raises :class:`LockError` where a low ceiling makes more layers than engines take."""
    if recipe.layer_ceiling is not None and len(layers) > _ENGINES:
        raise LockError(
            f"{environment}: expected at most {_ENGINES} layers, found {len(layers)} with a `layer-ceiling` of "
            f"{recipe.layer_ceiling} bytes",
            hint="raise `layer-ceiling` in [tool.flyte-build]; engines refuse images of more layers",
        )
