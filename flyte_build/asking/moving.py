"""Two sets of locks → which packages moved, by package: what ``lock`` shows of itself, and ``outdated``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..locks.nouns import Lock

__all__ = ["Move", "moves"]


@dataclass(frozen=True, slots=True)
class Move:
    """``old`` and ``new`` are versions (a base's: digests), ``None`` for what came or went. ``security``: the new one
    is from Debian's security archive and the old one was not, or was another."""

    kind: Literal["wheel", "deb", "conda", "base"]
    name: str
    old: str | None
    new: str | None
    environments: tuple[str, ...]
    platforms: tuple[str, ...]
    security: bool = False


def moves(before: Mapping[str, Lock], after: Mapping[str, Lock]) -> list[Move]:
    """Every package whose version is another in ``after``, in environments that have locks in both, sorted by kind and
    name; the same step of several environments and platforms is one move."""
    found: dict[tuple[str, str, str | None, str | None, bool], list[tuple[str, str]]] = {}
    for environment in before.keys() & after.keys():
        old, new = before[environment], after[environment]
        for platform in old.platforms.keys() & new.platforms.keys():
            was, now = _contents(old, platform), _contents(new, platform)
            for key in was.keys() | now.keys():
                one, other = was.get(key), now.get(key)
                if one is None or other is None or one[0] != other[0]:
                    kind, name = key
                    step = (
                        kind,
                        name,
                        one[0] if one else None,
                        other[0] if other else None,
                        bool(other and one and other[1]),
                    )
                    found.setdefault(step, []).append((environment, platform))
    order = {"base": 0, "deb": 1, "conda": 2, "wheel": 3}
    out = [
        Move(kind, name, was_at, is_at, _names(e for e, _ in where), _names(p for _, p in where), security)  # type: ignore[arg-type]
        for (kind, name, was_at, is_at, security), where in found.items()
    ]
    return sorted(out, key=lambda m: (order[m.kind], m.name, m.old or "", m.new or "", m.environments))


def _contents(lock: Lock, platform: str) -> dict[tuple[str, str], tuple[str, bool]]:
    """``(kind, name)`` → version, and whether it is a security update."""
    locked = lock.platforms[platform]
    out: dict[tuple[str, str], tuple[str, bool]] = {("wheel", w.name): (w.version, False) for w in locked.wheels}
    out |= {("conda", p.name): (p.version, False) for p in locked.conda}
    for deb in locked.debs:
        out["deb", deb.name] = (deb.version, deb.archive == "debian-security")
    if locked.base is not None:
        out["base", locked.base.reference.partition("@")[0]] = (locked.base.manifest.digest, False)
    return out


def _names(every: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(every)))
