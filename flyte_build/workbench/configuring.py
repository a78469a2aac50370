"""Which images have Debian packages whose maintainer scripts have to be run: asked while a project is locked.

Joins locking, which chooses packages, with building, which reads their scripts. What dpkg needs to configure them is
chosen only where one of the scripts does more than our rules stand for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..kernel.reporting import Reporter
from ..locks.nouns import LockedDeb, LockedPlatform
from ..recipe import SecretMount
from ..store import Store
from .sealing import foreign

__all__ = ["Configuring"]


class Configuring:
    """For one ``lock``; packages are looked into once. ``secrets`` are those that its images mount for them."""

    def __init__(self, root: Path, store: Store, reporter: Reporter, secrets: Sequence[SecretMount] = ()) -> None:
        self._root, self._store, self._reporter, self._secrets = root, store, reporter, secrets
        self._known: dict[frozenset[str], tuple[str, ...]] = {}

    def wanted(self, debs: Sequence[LockedDeb], snapshot: str) -> bool:
        """Whether dpkg has to configure ``debs``, which were chosen without what that takes. Where this machine does
        not run their programs that is a warning, and no."""
        names = self._names(debs, snapshot)
        platform = next((f"linux/{deb.architecture}" for deb in debs if deb.architecture != "all"), None)
        if not names or platform is None:
            return False
        if (here := foreign(platform, lent=True)) is not None:
            self._reporter.warn(
                f"the maintainer scripts of {', '.join(names)} are not run for {platform}: this machine is {here}; "
                "lock there, with --upgrade, if what they make is needed"
            )
            return False
        return True

    def configures(self, part: LockedPlatform) -> bool:
        """Whether the packages of ``part`` are configured: dpkg is there for it, and something wants it."""
        asked = [deb for deb in part.debs if not deb.base]
        if part.base is not None or not any(deb.name == "dpkg" for deb in asked):
            return False
        return bool(self._names(asked, part.snapshot))

    def _names(self, debs: Iterable[LockedDeb], snapshot: str) -> tuple[str, ...]:
        from ..building.configuring import controls, wanting
        from ..sources.locators import DebLocator

        rows = list(debs)
        key = frozenset(deb.sha256 for deb in rows)
        if key not in self._known:
            places = DebLocator([snapshot], root=self._root, secrets=self._secrets)
            found = controls(rows, self._store, places, self._reporter)
            self._known[key] = wanting(found)
        return self._known[key]
