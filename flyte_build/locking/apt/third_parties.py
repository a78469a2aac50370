"""What other people's sources offer, beside Debian: verified by their own keys, and never in the place of Debian's.

Of a name that Debian has, Debian's package is taken, whatever version another source has: a source that is allowed for
its own packages is not thereby allowed to replace the C library.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import httpx

from ...kernel.errors import FetchError
from ...kernel.scratch import scratch
from ...sources.apt_third_parties import ThirdParty
from ...sources.mirrors import Mirror
from .download import shown
from .index import Index, fetch_index, index_paths
from .package import Package
from .release import expiry, fetch_release
from .universe import Listing

__all__ = ["Beside", "other_listings"]


class Beside:
    """``listing`` without the packages whose names are ``taken``."""

    def __init__(self, listing: Listing, taken: frozenset[str]) -> None:
        self._listing, self._taken = listing, taken

    @property
    def names(self) -> frozenset[str]:
        return self._listing.names - self._taken

    @property
    def essential(self) -> tuple[str, ...]:
        """None: what every package may take for granted is Debian's to say."""
        return ()

    def versions(self, name: str) -> list[Package]:
        return [] if name in self._taken else self._listing.versions(name)

    def providers(self, name: str) -> list[Package]:
        return [package for package in self._listing.providers(name) if package.name not in self._taken]


def other_listings(
    http: httpx.Client, source: ThirdParty, architecture: str, cache: Path, now: datetime
) -> Iterator[Index]:
    """The indices of ``source``. Raises :class:`FetchError` where one cannot be had, or is not signed by its key."""
    mirror = Mirror(source.url, source.name, str(source.where))
    with scratch() as folder:
        ring = folder / "key.gpg"
        ring.write_bytes(source.key)
        for suite in source.suites:
            try:
                release = fetch_release(http, mirror, suite, [ring])
            except FetchError as e:
                raise FetchError(
                    f"apt source `{source.name}`: {e.message}",
                    hint=f"{source.where} says where it is, and which key signs it: correct that, or ask who runs it",
                ) from None
            if (problem := expiry(release, now)) is not None:
                raise FetchError(f"apt source `{source.name}`: {shown(release.url)}/InRelease {problem}")
            if suite.endswith("/"):
                yield fetch_index(http, release, "Packages", architecture, cache)
                continue
            for component in source.components:
                for path in index_paths(release, component, architecture):
                    yield fetch_index(http, release, path, architecture, cache)
