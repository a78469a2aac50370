"""A sealed step as a lock holds it: what it ran on, and what came of it. Values and their JSON.

A seal answers one step of the recipe on one platform. ``on`` is the digest of all that the programs could see (layers
below, variables, folder, commands); where that is another now, the seal is stale. The outcome is a layer, by digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..kernel.canonical import Json
from ..kernel.values import dataclass
from .reading import DIGEST, Reader

__all__ = ["ANY_MODULE", "CONFIGURED", "EMPTY", "LockedSeal", "SealRun", "parse_seals", "seal_json"]

ANY_MODULE = "*"
"""Among a seal's modules: any may have been added."""

CONFIGURED = -1
"""The step of the seal that holds what dpkg made when it configured the image's packages: below all others."""

EMPTY = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
"""The diff_id of a layer in which nothing is: a tar of two zero blocks."""

_DIGEST = "sha256: and 64 hexadecimal digits"


@dataclass(frozen=True, slots=True)
class LockedSeal:
    """``step``: its place in the recipe's steps, from 0 (:data:`CONFIGURED`: before them). ``network``: what it could
    reach (``internet``, ``host`` or ``none``). ``digest``, ``size`` (bytes) and ``diff_id``: the layer, tar in gzip.
    ``reproducible``: whether it came out the same twice. ``sketch``: the layer's paths in at most 32 groups, each as
    the last path and a hash of what is at all of them, so that a machine that makes other bytes can say where.
    ``modules``: the top-level Python modules that it added (``*``: any). ``config``: the image's configuration, where
    another builder has made the whole image (image-spec v1.1, config.md, the ``config`` object)."""

    step: int
    on: str
    network: str
    digest: str
    size: int
    diff_id: str
    reproducible: bool
    sketch: tuple[tuple[str, str], ...] = ()
    modules: tuple[str, ...] = ()
    config: Mapping[str, Json] | None = None

    @property
    def empty(self) -> bool:
        """Whether the step changed nothing: then no image has its layer."""
        return self.diff_id == EMPTY

    @property
    def sha256(self) -> str:
        return self.digest.removeprefix("sha256:")

    @property
    def file(self) -> str:
        """What the layer's file is called where files have names."""
        return f"sealed-{self.sha256[:16]}.tar.gz"


@dataclass(frozen=True, slots=True)
class SealRun:
    """A step that was run for a lock. ``step``: its number, from 1; ``seconds`` of the first run; ``paths`` and
    ``content`` (bytes) of what it changed, ``size`` of the layer; ``differs``: paths that the second run made
    otherwise; ``log``: the file with its output."""

    environment: str
    platform: str
    step: int
    title: str
    commands: tuple[str, ...]
    network: str
    seconds: float
    paths: int
    content: int
    size: int
    digest: str
    reproducible: bool
    differs: tuple[str, ...]
    log: str


def seal_json(seal: LockedSeal) -> dict[str, Json]:
    """The JSON object of a lock, one line there."""
    more: dict[str, Json] = {"config": dict(seal.config)} if seal.config is not None else {}
    return {
        "step": seal.step,
        "on": seal.on,
        "network": seal.network,
        "digest": seal.digest,
        "size": seal.size,
        "diff_id": seal.diff_id,
        "reproducible": seal.reproducible,
        "modules": list(seal.modules),
        "sketch": [list(row) for row in seal.sketch],
        **more,
    }


def parse_seals(r: Reader, raw: Mapping[str, Any], where: str) -> tuple[LockedSeal, ...]:
    """The seals of a platform; raises :class:`~flyte_build.kernel.errors.LockError` naming place and expectation."""
    if "seals" not in raw:
        return ()
    found = []
    for i, row in enumerate(r.get(raw, "seals", list, where)):
        at = f"{where}.seals[{i}]"
        if not isinstance(row, dict):
            raise r.fail(at, "an object", row)
        r.known(row, set(LockedSeal.__dataclass_fields__), at)
        sketch = r.get(row, "sketch", list, at)
        if not all(isinstance(x, list) and len(x) == 2 and all(isinstance(y, str) for y in x) for x in sketch):
            raise r.fail(f"{at}.sketch", "pairs of a path and a hash", sketch)
        found.append(
            LockedSeal(
                step=r.get(row, "step", int, at),
                network=r.get(row, "network", str, at),
                size=r.size(row, at),
                reproducible=r.get(row, "reproducible", bool, at),
                sketch=tuple((path, identity) for path, identity in sketch),
                modules=tuple(map(str, r.get(row, "modules", list, at))),
                config=_config(r, row, at),
                **{key: r.matching(row, key, DIGEST, _DIGEST, at) for key in ("on", "digest", "diff_id")},
            )
        )
    steps = [seal.step for seal in found]
    if steps != sorted(set(steps)):
        raise r.fail(f"{where}.seals", "every step once, in order", steps)
    return tuple(found)


def _config(r: Reader, row: Mapping[str, Any], at: str) -> Mapping[str, Json] | None:
    if "config" not in row:
        return None
    found: Mapping[str, Json] = r.get(row, "config", dict, at)
    variables = found.get("Env", [])
    if not isinstance(variables, list) or not all(isinstance(x, str) for x in variables):
        raise r.fail(f"{at}.config.Env", "a list of strings", variables)
    return found
