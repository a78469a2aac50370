"""Distributions that install different files at one path: told when an image is locked, before anything is fetched.

pip and uv let the one that is installed last win. Here the upper layer's file is in the image, and within a layer that
of the wheel whose name sorts last (``assemble.layer``), so that the answer does not depend on who asks. What is read
for it is each wheel's list of files, a few kilobytes at its end, once: a hash has always the same. Builds nothing, and
decides nothing about bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..deriving.derivation import derive
from ..deriving.from_lock import recorded_recipe
from ..deriving.nouns import Artifact
from ..kernel.errors import FlyteBuildError, RefusedError
from ..kernel.reporting import Reporter
from ..locks.nouns import Lock, LockedWheel
from ..recipe import CopyFiles, Recipe
from ..sources.indexes.index_cache import read_entries, write_entries
from ..sources.indexes.metadata import entries
from ..sources.locators import project_locator
from ..sources.peeking import peek
from ..sources.places import Locator

__all__ = ["Overlap", "find_overlaps", "tell_overlaps"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Overlap:
    """``winner``'s files are in the images of ``environments`` where ``loser`` has others at the same ``paths``."""

    environments: tuple[str, ...]
    loser: LockedWheel
    winner: LockedWheel
    paths: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(f"`{p}`" for p in self.paths[:_SHOWN])
        more = f" and {len(self.paths) - _SHOWN} more" if len(self.paths) > _SHOWN else ""
        return (
            f"{', '.join(self.environments)}: {self.loser.name} {self.loser.version} and {self.winner.name} "
            f"{self.winner.version} both install {shown}{more}: those of {self.winner.name} are in the image"
        )


def tell_overlaps(
    locks: Mapping[str, Lock], recipes: Mapping[str, Recipe], root: Path, reporter: Reporter, *, refuse: bool
) -> None:
    """A note for each overlap of ``locks``, which answer ``recipes``; with ``refuse`` a :class:`RefusedError`.

    Wheels whose lists nobody has are left out: the build says the same of them.
    """
    locator = project_locator(recipes, locks, root, hurried=True)
    found = find_overlaps(locks, locator, reporter)
    if found and refuse:
        raise RefusedError(
            'distributions install different files at one path (`overlaps = "refuse"`):\n'
            + "\n".join(f"  {overlap}" for overlap in found),
            hint="leave one of them out, or choose versions that agree",
        )
    for overlap in found:
        reporter.note(str(overlap))


def find_overlaps(locks: Mapping[str, Lock], locator: Locator, reporter: Reporter) -> list[Overlap]:
    """The overlaps in the images of ``locks``, each pair of wheels once."""
    orders = {(name, p): _ordered(lock, p) for name, lock in locks.items() for p in lock.platforms}
    wheels = {w.sha256: w for order in orders.values() for w in order if len(order) > 1}
    lists = _lists(list(wheels.values()), locator, reporter)
    pairs: dict[tuple[LockedWheel, LockedWheel], tuple[list[str], list[str]]] = {}
    for (name, _), order in orders.items():
        owner: dict[str, tuple[LockedWheel, str]] = {}
        for wheel in order:
            for path, what in lists.get(wheel.sha256, {}).items():
                below = owner.get(path)
                if below is not None and below[1] != what:
                    names, paths = pairs.setdefault((below[0], wheel), ([], []))
                    names += [name] if name not in names else []
                    paths += [path] if path not in paths else []
                owner[path] = wheel, what
    return [Overlap(tuple(n), below, above, tuple(sorted(p))) for (below, above), (n, p) in pairs.items()]


def _ordered(lock: Lock, platform: str) -> list[LockedWheel]:
    """The wheels of an image in the order in which they hide one another."""
    try:
        recipe = recorded_recipe(lock)
        copies = {i: () for i, step in enumerate(recipe.steps) if isinstance(step, CopyFiles)}
        layers = derive(lock, recipe, platform, copies).layers
    except FlyteBuildError:
        return []
    return [
        artifact.source
        for layer in layers
        if layer.kind == "wheels"
        for artifact in sorted(layer.artifacts, key=lambda a: (a.file, a.sha256))
        if isinstance(artifact.source, LockedWheel)
    ]


def _lists(wheels: Sequence[LockedWheel], locator: Locator, reporter: Reporter) -> dict[str, dict[str, str]]:
    """SHA-256 → path as installed → what identifies its content, of the wheels whose list somebody has."""
    if not wheels:
        return {}
    with reporter.work("reading wheels' lists of files", len(wheels)) as progress:

        def read(wheel: LockedWheel) -> dict[str, str] | None:
            if (known := read_entries(wheel.sha256)) is not None:
                progress.advance()
                return dict(_installed(known))
            try:
                places = locator.places(Artifact(wheel.sha256, wheel.size, wheel.file, wheel))
                found = next((f for p in places if isinstance(f := peek(p, wheel, entries), list)), None)
            except FlyteBuildError:
                found = None
            progress.advance()
            if found is None:
                return None
            write_entries(wheel.sha256, found)
            return dict(_installed(found))

        with ThreadPoolExecutor(max_workers=min(8, len(wheels))) as pool:
            read_all = list(pool.map(read, wheels))
    locator.close()
    return {w.sha256: found for w, found in zip(wheels, read_all, strict=True) if found is not None}


def _installed(rows: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Where the members of a wheel lie among the packages (PEP 427, ".data"); other schemes are each wheel's own."""
    for row in rows:
        what, _, path = row.partition("\t")
        top, _, rest = path.partition("/")
        if top.endswith(".data"):
            scheme, _, path = rest.partition("/")
            if scheme not in ("purelib", "platlib"):
                continue
        if path and not path.endswith("/"):
            yield path, what
