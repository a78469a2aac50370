"""Two contents → their difference: what was added, removed and changed, in everything that both of them know.

What one of them does not know is in ``not_known`` with the reason, never reported as equal or as gone. Pure and
deterministic: every list has an order of its own. ``to_json`` is documented in ``docs/diff.md``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, cast

from ..kernel.canonical import Json
from .contents import Contents, Layer, Package
from .entries import File, differs
from .filesystem import compare_files
from .pairing import LayerDifference, pair

__all__ = ["Change", "Difference", "NotKnown", "compare_packages", "difference"]

T = TypeVar("T")
Side = Literal["before", "after"]
_SIDES: tuple[Side, Side] = ("before", "after")
# Parts as JSON and messages call them.
_NAMES = {"wheels": "python_packages", "debs": "debian_packages", "copied": "copied_files"}


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One named thing that differs; ``before`` or ``after`` is ``None`` where it is not there."""

    name: str
    before: T | None
    after: T | None

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"

    def to_json(self) -> Json:
        return {"name": self.name, "change": self.kind, "before": _plain(self.before), "after": _plain(self.after)}


@dataclass(frozen=True, slots=True)
class NotKnown:
    """A part (a key of the JSON, ``files``, say) that ``side`` cannot tell, or not all of, and why."""

    part: str
    side: Side
    why: str

    def to_json(self) -> Json:
        return {"part": self.part, "side": self.side, "why": self.why}


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two subjects; a part is ``None`` where the two cannot be compared in it.

    ``config`` holds texts, JSON where a setting is no string. ``files`` may be incomplete; then ``not_known``
    says so.
    """

    before: Contents
    after: Contents
    facts: tuple[Change[str], ...]
    wheels: tuple[Change[Package], ...] | None
    debs: tuple[Change[Package], ...] | None
    env: tuple[Change[str], ...] | None
    labels: tuple[Change[str], ...] | None
    config: tuple[Change[str], ...] | None
    annotations: tuple[Change[str], ...] | None
    copied: tuple[Change[File], ...] | None
    files: tuple[Change[File], ...] | None
    layers: LayerDifference | None
    not_known: tuple[NotKnown, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing that both know differs."""
        parts = (self.facts, self.wheels, self.debs, self.env, self.labels, self.config, self.annotations)
        return not any((*parts, self.copied, self.files)) and (self.layers is None or self.layers.empty)

    def unknown(self, part: str) -> tuple[NotKnown, ...]:
        return tuple(n for n in self.not_known if n.part == part)

    def to_json(self) -> dict[str, Json]:
        return {
            "schema": 1,
            "equal": self.empty,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "facts": _json(self.facts),
            "python_packages": _json(self.wheels),
            "debian_packages": _json(self.debs),
            "env": _json(self.env),
            "labels": _json(self.labels),
            "config": _json(self.config),
            "annotations": _json(self.annotations),
            "copied_files": _json(self.copied),
            "files": _json(self.files),
            "layers": self.layers.to_json() if self.layers is not None else None,
            "not_known": [n.to_json() for n in self.not_known],
        }


def difference(before: Contents, after: Contents) -> Difference:
    """What changes from ``before`` to ``after``."""
    layers, files, unknown = _layers_and_files(before, after)
    parts = {p: (getattr(before, p), getattr(after, p)) for p in ("wheels", "debs", "config", "annotations", "copied")}
    for part, values in parts.items():
        for side, value, contents in zip(_SIDES, values, (before, after), strict=True):
            if value is None:
                unknown.append(NotKnown(_NAMES.get(part, part), side, _why(contents, part)))
    both = sorted({*before.facts} & {*after.facts})
    order = _order(before.config, after.config)
    envs, labels, rest = (_both(before.config, after.config, view) for view in (_env, _labels, _rest))
    return Difference(
        before=before,
        after=after,
        facts=tuple(Change(k, before.facts[k], after.facts[k]) for k in both if before.facts[k] != after.facts[k]),
        wheels=_compare(before.wheels, after.wheels, _packages_differ),
        debs=_compare(before.debs, after.debs, _packages_differ),
        env=_compare(*envs),
        labels=_compare(*labels),
        config=None if (settings := _compare(*rest)) is None else (*settings, *order),
        annotations=_compare(before.annotations, after.annotations),
        copied=_compare(before.copied, after.copied, lambda a, b: differs(a, b) is True),
        files=files,
        layers=layers,
        not_known=tuple(dict.fromkeys(unknown)),
    )


def _layers_and_files(
    before: Contents, after: Contents
) -> tuple[LayerDifference | None, tuple[Change[File], ...] | None, list[NotKnown]]:
    unknown: list[NotKnown] = []
    if before.layers is None or after.layers is None:
        for side, contents in zip(_SIDES, (before, after), strict=True):
            if contents.layers is None:
                unknown += [NotKnown(part, side, _why(contents, part)) for part in ("layers", "files")]
        return None, None, unknown
    paired = pair(before.layers, after.layers)
    vague = paired.vague_before, paired.vague_after
    strangers = (before.layers, after.layers) == vague and any(vague)
    for side, layers in zip(_SIDES, vague, strict=True):
        if strangers:
            unknown.append(NotKnown("layers", side, f"they are known {_known_by(layers[0])}"))
        else:
            unknown += [NotKnown("layers", side, f"`{layer.title}` is known {_known_by(layer)}") for layer in layers]
    compared = compare_files(before.layers, after.layers, paired)
    for side, contents, lacking in zip(_SIDES, (before, after), compared.lacking, strict=True):
        unknown += [NotKnown("files", side, _lacking(contents, layer)) for layer in lacking]
        if compared.vague:
            why = f"files of equal size, known by SHA-256 in one and by CRC-32 in the other: {compared.vague}"
            unknown.append(NotKnown("files", side, why))
    changes = tuple(Change(path, a, b) for path, a, b in compared.changes)
    return None if strangers else paired, changes if compared.comparable else None, unknown


def _known_by(layer: Layer) -> str:
    """What of a layer's identity there is, which was not enough to find it in the other image."""
    if layer.digest is None and layer.derivation is None:
        return f"by name only: {layer.because}"
    return "by digest only" if layer.derivation is None else "by derivation only"


def _lacking(contents: Contents, layer: Layer) -> str:
    return contents.unknown.get("files") or f"`{layer.title}`: {layer.because}"


def _why(contents: Contents, part: str) -> str:
    return contents.unknown.get(part, f"{contents.subject} does not tell")


def _compare(
    before: Mapping[str, T] | None,
    after: Mapping[str, T] | None,
    different: Callable[[T, T], bool] = lambda a, b: a != b,
) -> tuple[Change[T], ...] | None:
    if before is None or after is None:
        return None
    out = []
    for name in sorted({*before, *after}):
        a, b = before.get(name), after.get(name)
        if a is None or b is None or different(a, b):
            out.append(Change(name, a, b))
    return tuple(out)


def compare_packages(before: Mapping[str, Package], after: Mapping[str, Package]) -> tuple[Change[Package], ...]:
    """What changed between two sets of packages: by SHA-256 where both have one, else by version."""
    return _compare(before, after, _packages_differ) or ()


def _packages_differ(a: Package, b: Package) -> bool:
    if a.sha256 is not None and b.sha256 is not None:
        return a.sha256 != b.sha256
    # A version that was read off a Debian file's name lacks its epoch (Debian Policy, 5.6.12).
    loose = ":" not in a.version or ":" not in b.version
    return _no_epoch(a.version) != _no_epoch(b.version) if loose else a.version != b.version


def _no_epoch(version: str) -> str:
    return version.rpartition(":")[2]


# -- an OCI configuration, taken apart -------------------------------------------------------------


def _both(
    before: Mapping[str, Json] | None,
    after: Mapping[str, Json] | None,
    view: Callable[[Mapping[str, Json]], dict[str, str]],
) -> tuple[dict[str, str] | None, dict[str, str] | None]:
    return (None if before is None else view(before)), (None if after is None else view(after))


def _env(config: Mapping[str, Json]) -> dict[str, str]:
    pairs = (str(item).partition("=") for item in cast("list[Json]", config.get("Env") or []))
    return {name: value for name, _, value in pairs}


def _order(before: Mapping[str, Json] | None, after: Mapping[str, Json] | None) -> list[Change[str]]:
    """The order of ``Env`` means nothing to a program, but is part of the configuration's bytes."""
    if before is None or after is None:
        return []
    old, new = _env(before), _env(after)
    a, b = [n for n in old if n in new], [n for n in new if n in old]
    return [] if a == b else [Change("order of Env", ", ".join(a), ", ".join(b))]


def _labels(config: Mapping[str, Json]) -> dict[str, str]:
    return {k: str(v) for k, v in cast("dict[str, Json]", config.get("Labels") or {}).items()}


def _rest(config: Mapping[str, Json]) -> dict[str, str]:
    """Every other setting as text; an empty one means the same as an absent one (config.md)."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
        for key, value in config.items()
        if key not in ("Env", "Labels") and value not in ("", None, [], {})
    }


# -- JSON ------------------------------------------------------------------------------------------


def _plain(value: object) -> Json:
    if isinstance(value, Package | File):
        return value.to_json()
    return cast(Json, value)


def _json(changes: tuple[Change[T], ...] | None) -> Json:
    return None if changes is None else [c.to_json() for c in changes]
