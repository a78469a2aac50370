"""What a layer holds → the modules of each of its wheels. Pure.

A layer's listing says exactly which modules are in the image. Whose they are it says for a layer of one wheel; among
several it is concluded: from what is known of some of them, from setuptools' ``top_level.txt`` (its size and CRC-32 are
in the listing, and tell the names that it holds), and last from the names themselves. So each module has one owner, and
what is found never depends on a conclusion: only how its distribution is called does.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import combinations

from packaging.utils import canonicalize_name

from ....locks.nouns import LockedWheel
from .modules import FOLDER, modules_among

__all__ = ["divided"]

# What it weighs that a unit is called like the wheel, where likeness is 1 at most; and times what that is if the wheel
# has nothing yet, and if it says that it has a part of this namespace.
_CALLED_SO, _STILL_EMPTY, _CLAIMED = 2.0, 1.5, 2.0


def divided(
    listing: Mapping[str, str],
    site: str,
    wheels: Sequence[LockedWheel],
    known: Mapping[str, frozenset[str]],
) -> dict[str, frozenset[str]] | None:
    """The modules by the wheels' SHA-256; ``None`` where ``listing`` is not that of a layer of these ``wheels``.

    ``listing``: path → identity, as in ``assemble.blob.BlobResult``. ``site``: the folder of packages, without a slash
    at its ends. ``known``: the modules of wheels that were looked into themselves, by SHA-256.
    """
    held = {path[len(site) + 1 :]: what for path, what in listing.items() if path.startswith(f"{site}/")}
    files = {path: what for path, what in held.items() if not what.startswith("d ")}
    infos = {canonicalize_name(p.partition("-")[0]): p[: -len("/RECORD")] for p in files if _is_record(p)}
    if {canonicalize_name(w.name) for w in wheels} != set(infos):
        return None
    every = modules_among(files)
    modules = frozenset(m for m in every if not m.endswith(FOLDER))
    owners = {m: sha256 for sha256, own in known.items() for m in own if m in modules}
    rest = [w for w in wheels if w.sha256 not in known]
    if rest:
        stated = {w.sha256: files.get(f"{infos[canonicalize_name(w.name)]}/top_level.txt") for w in rest}
        owners |= _concluded(modules - owners.keys(), rest, stated)
    found: dict[str, set[str]] = {w.sha256: set() for w in rest}
    for module, sha256 in owners.items():
        if sha256 in found:
            found[sha256].add(module)
    # Whose a folder without modules is decides nothing: that it is there is all that is asked of it.
    for wheel in rest[:1]:
        found[wheel.sha256] |= every - modules
    return {**known, **{sha256: frozenset(own) for sha256, own in found.items()}}


def _is_record(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return name == "RECORD" and folder.endswith(".dist-info") and "/" not in folder


def _concluded(
    modules: frozenset[str], wheels: Sequence[LockedWheel], stated: Mapping[str, str | None]
) -> Iterator[tuple[str, str]]:
    """(module, SHA-256 of the wheel that has it), for each of ``modules``; ``stated``: their ``top_level.txt``."""
    units: dict[str, list[str]] = {}
    for module in sorted(modules):
        units.setdefault(_unit(module, modules), []).append(module)
    tops = sorted({_top(unit) for unit in units})
    said = {sha256: _read(what, tops) for sha256, what in stated.items() if what is not None}
    candidates = {unit: _candidates(unit, wheels, said) for unit in units}
    best = {unit: max(_likeness(unit, w.name) for w in some) for unit, some in candidates.items()}
    served: set[str] = set()
    # What leaves least doubt first: whose owner has its modules by then.
    for unit in sorted(units, key=lambda u: (len(candidates[u]) > 1, -best[u], u)):
        weights = {w: _likeness(unit, w.name) for w in candidates[unit]}
        for w in weights:
            weights[w] *= 1 if w.sha256 in served else _STILL_EMPTY
            weights[w] *= _CLAIMED if _top(unit) in (said.get(w.sha256) or ()) else 1
        owner = max(weights, key=lambda w: (weights[w], w.name)).sha256
        served.add(owner)
        yield from ((module, owner) for module in units[unit])


def _unit(module: str, modules: frozenset[str]) -> str:
    """What one wheel has as a whole: the outermost regular package or module; a namespace (PEP 420) is none."""
    parts = module.split(".")
    return next(p for i in range(1, len(parts) + 1) if (p := ".".join(parts[:i])) in modules)


def _top(unit: str) -> str:
    return unit.partition(".")[0]


def _candidates(
    unit: str, wheels: Sequence[LockedWheel], said: Mapping[str, frozenset[str] | None]
) -> list[LockedWheel]:
    """Those that say they have it, else those that say nothing; of a namespace, either may have a part."""
    claiming = [w for w in wheels if _top(unit) in (said.get(w.sha256) or ())]
    silent = [w for w in wheels if said.get(w.sha256) is None]
    if _top(unit) == unit:
        return claiming or silent or list(wheels)
    return claiming + silent or list(wheels)


def _read(what: str, tops: Sequence[str]) -> frozenset[str] | None:
    """The names in a ``top_level.txt`` of the identity ``what``: up to three of ``tops``, a line each."""
    kind, *rest = what.split()
    if kind != "f" or len(rest) < 3:
        return None
    size, crc = int(rest[1]), int(rest[2], 16)
    for count in range(4):
        for names in combinations(tops, count):
            text = "\n".join(names) + "\n"
            if len(text) == size and zlib.crc32(text.encode()) == crc:
                return frozenset(names)
    return None


def _likeness(unit: str, name: str) -> float:
    last = unit.rpartition(".")[2].strip("_")
    if canonicalize_name(name) in (canonicalize_name(unit.replace(".", "-")), canonicalize_name(last)):
        return _CALLED_SO
    return SequenceMatcher(None, unit.lower(), name.lower()).ratio()
