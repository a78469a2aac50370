"""What the checks of calls said, kept as JSON, and whether they would say it of other locks.

Of a lock that differs in nothing but its wheels' versions and pins, they say the same of calls that fail, as long as
the wheels that they looked into have the same modules. All else that they find names versions, or compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from ..kernel.canonical import Json, digest
from ..kernel.reporting import Reporter
from ..locks.nouns import Lock, LockedWheel
from ..planning.checks.wheels.kept import kept_at
from ..planning.workspace import checked_platform
from ..project.nouns import Environment
from ..recipe import Recipe
from ..store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from ..planning.checks import Finding
    from ..sources.places import Locator
    from .judged import Judged

__all__ = ["Judgement", "frame", "judgement_of", "says"]

Judgement: TypeAlias = Mapping[str, Any]
"""``meant``: the environments; ``platform``: theirs; ``wheels``: of every environment of the project those that it has
there, by name; ``consulted``: those of them that were looked into, by SHA-256; ``findings``: each as JSON."""

# The rest of a wheel's row says which of its versions it is, which changes nothing for a check as long as it has the
# same modules.
_KEPT = ("name", "step")


def frame(lock: Lock) -> str:
    """The digest of all that ``lock`` says, less its pins and which versions its wheels are."""
    raw = cast("dict[str, Any]", lock.to_json())
    raw.pop("pins", None)
    for part in (raw, *raw["platforms"].values()):
        part["wheels"] = [{k: v for k, v in row.items() if k in _KEPT} for row in part.get("wheels", ())]
    return digest(raw)


def judgement_of(judged: Judged, environments: Sequence[Environment]) -> dict[str, Json] | None:
    """``judged`` as JSON; ``None`` where another look could say more. ``environments`` are all of the project's."""
    if judged.locks is None or any(f.code == "not-checked" for f in judged.findings):
        return None
    platform = checked_platform([e for e in environments if e.name in judged.environments], judged.platform)
    return {
        "meant": list(judged.environments),
        "platform": platform,
        "wheels": {name: _wheels(lock, platform) for name, lock in judged.locks.items()},
        "consulted": [*sorted(judged.consulted)],
        "findings": [f.to_json() for f in judged.findings],
    }


def says(
    told: Judgement,
    calls: str,
    recipes: Mapping[str, Recipe],
    locks: Mapping[str, Lock],
    root: Path,
    store: Store,
    reporter: Reporter,
) -> list[Finding] | None:
    """What the checks would find now that the locks are ``locks``, whose frames are as they were; where ``calls`` that
    would fail are no more than refused, only those, and an index may be asked what a wheel has. ``None`` where that is
    not certain."""
    rows = {name: cast("dict[str, list[Any]]", _wheels(lock, told["platform"])) for name, lock in locks.items()}
    changed = [
        (LockedWheel(name, *was[name]), LockedWheel(name, *row))
        for environment, was in told["wheels"].items()
        for name, row in rows[environment].items()
        if row != was[name]
    ]
    findings, consulted = told["findings"], frozenset(told["consulted"])
    looked_into = [pair for pair in changed if pair[0].sha256 in consulted]
    if calls == "refuse":
        findings = [f for f in findings if f["severity"] == "error"]
        if findings:
            return None
    else:
        if changed and (findings or not _alike({now.name for _, now in changed}, rows)):
            return None
        # Nobody else is asked for them, who may not be there any more.
        if not all(kept_at(store.root, sha256).is_file() for sha256 in consulted):
            return None
    locator = None
    if looked_into and calls == "refuse":
        from ..sources.locators import project_locator

        locator = project_locator(recipes, locks, root, hurried=True)
    if not _same_modules(looked_into, locator, store, reporter):
        return None
    if not findings:
        return []
    from ..planning.checks import Finding

    return [Finding(**finding) for finding in findings]


def _wheels(lock: Lock, platform: str) -> dict[str, Json]:
    held = lock.platforms.get(platform)
    return {w.name: [w.version, w.file, w.size, w.sha256, w.step] for w in held.wheels} if held else {}


def _alike(names: set[str], rows: Mapping[str, Mapping[str, list[Any]]]) -> bool:
    """Whether all environments that have wheels of these ``names`` have the same version of each."""
    return all(len({wheels[name][0] for wheels in rows.values() if name in wheels}) == 1 for name in names)


def _same_modules(
    changed: Sequence[tuple[LockedWheel, LockedWheel]], locator: Locator | None, store: Store, reporter: Reporter
) -> bool:
    """Whether the wheels that were replaced had the modules that their replacements have, and that is known of both;
    ``locator`` is asked for those that are not here."""
    if not changed:
        return True
    from ..planning.checks.wheels.contents import Contents

    found = Contents(store.root, store, locator, reporter)([wheel for pair in changed for wheel in pair])
    return all(found.get(was.sha256) == found.get(now.sha256) is not None for was, now in changed)
