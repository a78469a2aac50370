"""All packages that a lock may choose from: several indices seen as one. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from functools import cmp_to_key
from typing import Protocol

from .package import Package, Version

__all__ = ["Listing", "Universe"]


class Listing(Protocol):
    """What an index offers to the universe."""

    @property
    def names(self) -> frozenset[str]:
        """The names of all packages."""

    @property
    def essential(self) -> tuple[str, ...]:
        """The names of the packages marked Essential."""

    def versions(self, name: str) -> list[Package]:
        """All packages of that name."""

    def providers(self, name: str) -> list[Package]:
        """All packages that provide that name."""


class Universe:
    """The union of ``listings``; of equal versions, that of the earlier listing counts.

    ``title`` names it in messages: ``bookworm (main, amd64)``.
    """

    def __init__(self, listings: Sequence[Listing], title: str) -> None:
        self._listings, self.title = tuple(listings), title
        self._versions: dict[str, tuple[Package, ...]] = {}
        self._providers: dict[str, tuple[Package, ...]] = {}

    def versions(self, name: str) -> tuple[Package, ...]:
        """The packages called ``name``, highest version first."""
        found = self._versions.get(name)
        if found is None:
            found = self._versions[name] = _highest_first(p for part in self._listings for p in part.versions(name))
        return found

    def providers(self, name: str) -> tuple[Package, ...]:
        """The packages that provide ``name``: by priority, then by name, then highest version first."""
        found = self._providers.get(name)
        if found is None:
            by_name: dict[str, list[Package]] = {}
            for part in self._listings:
                for package in part.providers(name):
                    by_name.setdefault(package.name, []).append(package)
            groups = [_highest_first(group) for group in by_name.values()]
            groups.sort(key=lambda g: (g[0].rank, g[0].name))
            found = self._providers[name] = tuple(p for group in groups for p in group)
        return found

    @property
    def essential(self) -> tuple[str, ...]:
        """The names of all Essential packages, sorted."""
        return tuple(sorted({name for part in self._listings for name in part.essential}))

    def names_like(self, prefix: str) -> list[str]:
        """The names of packages that begin with ``prefix``, sorted."""
        return sorted(n for n in frozenset().union(*(p.names for p in self._listings)) if n.startswith(prefix))

    def near(self, name: str, count: int = 3) -> list[str]:
        """Up to ``count`` names of packages that look like ``name``: swapped letters first, then nearest first."""
        names = frozenset().union(*(part.names for part in self._listings))
        swapped = sorted(n for n in names if len(n) == len(name) and sorted(n) == sorted(name))
        # difflib is quadratic in the length: of 60,000 names, only those of about the same length are tried.
        alike = sorted(n for n in names if abs(len(n) - len(name)) <= 3)
        nearest = difflib.get_close_matches(name, alike, n=count, cutoff=0.75)
        return list(dict.fromkeys([*swapped, *nearest]))[:count]


def _highest_first(packages: Iterable[Package]) -> tuple[Package, ...]:
    unique: list[Package] = []
    for package in packages:
        if not any(Version(package.version) == Version(u.version) for u in unique):
            unique.append(package)
    return tuple(sorted(unique, key=cmp_to_key(_newer_first)))


def _newer_first(a: Package, b: Package) -> int:
    left, right = Version(a.version), Version(b.version)
    return -1 if left > right else int(left < right)
