"""Why an image is as the plan says: its difference from what there was before, and a reason for each layer.

What there was before is (1) the image last built here for the environment, else (2) what its lock pinned in the last
commit, where the lock has changed since, else (3) nothing. :func:`earlier` reads the first two, :func:`explain` is
pure. Never builds. ``to_json`` is documented in ``docs/diff.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..diffing.comparison import Difference, compare_packages, difference
from ..diffing.contents import Contents, Held, Layer, of_derivation
from ..diffing.entries import differs
from ..diffing.locked import of_lock
from ..diffing.revisions import at_revision
from ..diffing.stored import last_built
from ..diffing.wording import brief, package_line, several
from ..kernel.canonical import Json
from ..kernel.errors import InputError, LockError
from ..locks.lockfile import lock_path, parse
from ..store import Store
from .plan import ImagePlan, LayerPlan, Plan, State

__all__ = ["Earlier", "Explanation", "LayerReason", "earlier", "explain", "explain_plan"]


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an image is compared with: the ``last build`` here, or the ``lock`` of the last commit."""

    source: Literal["last build", "lock"]
    contents: Contents


@dataclass(frozen=True, slots=True)
class LayerReason:
    """One layer: ``state`` is the plan's (``cached`` or ``build``), ``kept`` whether the image had it before.

    ``size``: bytes of its blob where it was built, ``artifact_size``: bytes of the artifacts it is made of,
    ``shared_with``: the plan's other environments that have it.
    """

    title: str
    kind: str
    derivation: str
    state: State
    kept: bool
    why: str
    size: int | None
    artifact_size: int | None
    shared_with: tuple[str, ...]

    def to_json(self) -> Json:
        return {
            "title": self.title,
            "kind": self.kind,
            "derivation": self.derivation,
            "state": self.state,
            "kept": self.kept,
            "why": self.why,
            "size": self.size,
            "artifact_size": self.artifact_size,
            "shared_with": list(self.shared_with),
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """One image explained. ``difference`` is from what there was before, ``None`` where nothing was."""

    environment: str
    platform: str
    derivation: str
    state: str
    summary: str
    source: str | None
    difference: Difference | None
    layers: tuple[LayerReason, ...]
    gone: tuple[Layer, ...]

    @property
    def added(self) -> tuple[LayerReason, ...]:
        """The layers that the image did not have before."""
        return tuple(layer for layer in self.layers if not layer.kept)

    @property
    def sharing(self) -> tuple[tuple[str, int], ...]:
        """Environments of the plan with how many of these layers they have too, the most first."""
        counts: dict[str, int] = {}
        for layer in self.layers:
            for other in layer.shared_with:
                counts[other] = counts.get(other, 0) + 1
        return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def to_json(self) -> dict[str, Json]:
        return {
            "environment": self.environment,
            "platform": self.platform,
            "derivation": self.derivation,
            "state": self.state,
            "summary": self.summary,
            "compared_with": self.source,
            "difference": self.difference.to_json() if self.difference is not None else None,
            "layers": [layer.to_json() for layer in self.layers],
            "gone": [layer.to_json() for layer in self.gone],
            "sharing": [{"environment": name, "layers": count} for name, count in self.sharing],
        }


# -- reading ---------------------------------------------------------------------------------------


def earlier(image: ImagePlan, store: Store, lockfiles: Path) -> Earlier | None:
    """What there was before ``image``. ``lockfiles`` is the folder of the locks; outside of git, and where git has no
    such lock or one that cannot be read, nothing was."""
    with store.reading():
        built = last_built(store, image.environment, image.platform)
    if built is not None:
        return Earlier("last build", built)
    path = lock_path(lockfiles, image.environment)
    try:
        committed = at_revision(path, "HEAD")
        if committed is None:
            return None
        subject = f"{path.name} in the last commit"
        lock, now = parse(committed, Path(subject)), parse(path.read_text(encoding="utf-8"), path)
        # What came out is no change in what was asked for.
        if replace(lock, pins={}) == replace(now, pins={}):
            return None
        return Earlier("lock", of_lock(lock, image.platform, subject))
    except (InputError, LockError, OSError, UnicodeDecodeError):
        return None


def explain_plan(
    plan: Plan, store: Store, lockfiles: Path, environments: Iterable[str] | None = None
) -> list[Explanation]:
    """Explain the plan's images, those of ``environments`` only where given; an unknown one is an
    :class:`InputError`."""
    wanted = None if environments is None else list(environments)
    known = list(dict.fromkeys(image.environment for image in plan.images))
    for name in wanted or ():
        if name not in known:
            raise InputError(f"--explain: no environment `{name}` in this plan; there are: {', '.join(known)}")
    images = [i for i in plan.images if wanted is None or i.environment in wanted]
    return [explain(image, earlier(image, store, lockfiles)) for image in images]


# -- explaining ------------------------------------------------------------------------------------


def explain(image: ImagePlan, before: Earlier | None) -> Explanation:
    """Why ``image`` is in the state it is in. Pure."""
    held = {x.derivation: Held(x.digest, x.size) for x in image.layers if x.digest is not None and x.size is not None}
    now = of_derivation(image.derivation, image.environment, held)
    found = difference(before.contents, now) if before is not None else None
    paired = found.layers if found is not None else None
    kept = {j for _, j in paired.pairs} if paired is not None else set()
    gone = paired.gone if paired is not None else ()
    reasons = []
    for i, (layer, planned) in enumerate(zip(now.layers or (), image.layers, strict=True)):
        if before is None:
            why = _first_why(planned)
        elif i in kept:
            why = _kept_why(planned, before)
        elif paired is not None and layer in paired.vague_after:
            why = "the committed lock does not tell what was copied"
        else:
            predecessor = _predecessor(layer, gone)
            lines = _changes(predecessor, layer, before.contents, now) if predecessor is not None else ["new"]
            why = "; ".join(several(lines)) or "arranged differently"
        reasons.append(
            LayerReason(
                title=layer.title,
                kind=planned.kind,
                derivation=planned.derivation,
                state=planned.state,
                kept=i in kept,
                why=why,
                size=planned.size,
                artifact_size=layer.artifact_size,
                shared_with=planned.shared_with,
            )
        )
    return Explanation(
        environment=image.environment,
        platform=image.platform,
        derivation=image.derivation.hash,
        state=image.state,
        summary=_summary(image, before, found),
        source=before.source if before is not None else None,
        difference=found,
        layers=tuple(reasons),
        gone=gone,
    )


def _summary(image: ImagePlan, before: Earlier | None, found: Difference | None) -> str:
    if before is None or found is None:
        return "cached: built here before" if image.state == "cached" else image.why
    changes = "; ".join(several(brief(found), 5))
    if before.source == "lock":
        return f"{image.why}; since the last commit: {changes or 'nothing that its lock tells'}"
    if not changes:
        return "nothing changed since the last build" if image.state == "cached" else image.why
    return f"built here before, and not last: since then {changes}" if image.state == "cached" else changes


def _first_why(planned: LayerPlan) -> str:
    if planned.state == "build":
        return "never built here"
    return "built already" + (f" for {', '.join(several(planned.shared_with))}" if planned.shared_with else "")


def _kept_why(planned: LayerPlan, before: Earlier) -> str:
    same = "as last built" if before.source == "last build" else "as in the last commit"
    if planned.state == "cached":
        return same
    if planned.state == "remote":
        return f"{same}, and in the registry"
    return f"{same}, but its blob is not in the store"


def _predecessor(layer: Layer, gone: Sequence[Layer]) -> Layer | None:
    """Of the layers that went, the one of this kind with the most in common."""
    mine = _names(layer)
    best, most = None, 0
    for candidate in gone:
        if candidate.kind != layer.kind:
            continue
        if layer.kind == "system":
            return candidate
        common = len(mine & _names(candidate)) * 2 + (candidate.title == layer.title)
        if common > most:
            best, most = candidate, common
    return best


def _names(layer: Layer) -> set[str]:
    return set(layer.packages) | set(layer.files or () if layer.kind == "files" else ())


def _changes(before: Layer, after: Layer, then: Contents, now: Contents) -> list[str]:
    """What changed from one layer to its successor; ``then`` and ``now`` tell what only went to another layer."""
    olds, news = _packages(then), _packages(now)
    lines = []
    for change in compare_packages(before.packages, after.packages):
        if change.after is None and change.name in news:
            lines.append(f"{change.name} lies in another layer now")
        elif change.before is None and change.name in olds:
            lines.append(f"{change.name} lay in another layer")
        else:
            lines.append(package_line(change))
    if after.kind == "files":
        lines += _files(before, after)
    a, b = before.settings or {}, after.settings or {}
    return lines + [f"{key} {a[key]} → {b[key]}" for key in sorted({*a} & {*b}) if a[key] != b[key]]


def _packages(contents: Contents) -> set[str]:
    return {*(contents.wheels or ()), *(contents.debs or ())}


def _files(before: Layer, after: Layer) -> list[str]:
    old, new = before.files or {}, after.files or {}
    out = []
    for path in sorted({*old, *new}):
        a, b = old.get(path), new.get(path)
        if a is None or b is None:
            out.append(f"{'+' if a is None else '−'} {path}")
        elif differs(a, b) is not False:
            out.append(f"{path} changed")
    return out
