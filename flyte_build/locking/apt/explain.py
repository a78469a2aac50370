"""Why there is no solution, in words: who needs what, what versions exist, what stands against it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...kernel.errors import ResolutionError
from .package import Clause, Package, Relation
from .universe import Universe

__all__ = ["Refusal", "conflict", "explain"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A package that would do, but for the version already ``chosen`` or for a conflict, told in words."""

    package: Package
    chosen: Package | None
    conflict: str | None


def conflict(package: Package, chosen: Iterable[Package]) -> str | None:
    """What keeps ``package`` from being installed next to ``chosen``, in words; ``None`` when nothing does.

    Conflicts and Breaks name packages and what packages provide, never the package that declares them
    (policy 7.4).
    """
    for other in chosen:
        if other.name == package.name:
            continue
        for one, two in ((package, other), (other, package)):
            for relation in one.against:
                if relation.matched_by(two):
                    return f"{one} is in conflict with {two} (`{relation}`)"
    return None


def explain(
    universe: Universe,
    clause: Clause,
    requirer: Package | None,
    path: Sequence[Package],
    refusals: Sequence[Refusal],
) -> ResolutionError:
    """The error for a ``clause`` of ``requirer`` (``None``: of the user) that nothing satisfies.

    ``path`` leads from ``requirer`` up to what the user asked for.
    """
    shown = " | ".join(f"`{r}`" for r in clause)
    if requirer is None and not refusals:
        return _missing(universe, clause[0])
    lead = f"{requirer} depends on {shown}" if requirer else f"{shown} was asked for"
    found = [_refusal(r) for r in refusals] or [_offer(universe, r) for r in clause]
    chain = " ← ".join(str(p) for p in path)
    return ResolutionError(
        f"{universe.title}: {lead}, but {'; '.join(dict.fromkeys(found))}",
        hint="leave one of the packages out, or ask for another version",
        detail=f"needed by: {chain}" if len(path) > 1 else None,
    )


def _refusal(refusal: Refusal) -> str:
    if refusal.chosen is not None and refusal.chosen != refusal.package:
        return f"{refusal.chosen} is already in the image"
    return refusal.conflict or f"{refusal.package} cannot be had with the rest"


def _offer(universe: Universe, relation: Relation) -> str:
    versions = [p.version for p in universe.versions(relation.name)]
    providers = [str(p) for p in universe.providers(relation.name)]
    if versions:
        return f"the archive has {relation.name} {', '.join(versions)}"
    if providers:
        return f"{relation.name} is provided by {', '.join(providers)}, not in that version"
    return f"the archive has no package {relation.name}"


_ELSEWHERE = (
    "what is in contrib or non-free (`apt-cache policy NAME` on a Debian machine says so), or another archive's, is "
    "allowed by `apt-components` and `apt-sources` in [tool.flyte-build]; much is on an index as wheels, too"
)


def _missing(universe: Universe, relation: Relation) -> ResolutionError:
    versions = [p.version for p in universe.versions(relation.name)]
    if versions:
        return ResolutionError(
            f"{universe.title}: `{relation}` was asked for, and the archive has {relation.name} {', '.join(versions)}",
            hint="superseded versions leave the archive: ask for one of these, or for none in particular",
        )
    near = universe.near(relation.name)
    return ResolutionError(
        f"{universe.title}: there is no package `{relation.name}`",
        hint=f"did you mean {' or '.join(f'`{n}`' for n in near)}" if near else _ELSEWHERE,
    )
