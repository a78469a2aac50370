"""What the artifacts in the store say of themselves, read once: their licences and the .debs' source versions.

Kept in the store's folder by the artifact's hash, because a .deb has to be unpacked to be asked. It is a cache: what
cannot be written is read again. Artifacts that are not in the store are not fetched; nothing is known of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress

from ..kernel.files import write_whole
from ..locks.nouns import LockedDeb, LockedWheel
from ..store import Store
from .licenses import Facts, License, read_deb, read_wheel

__all__ = ["StoredFacts"]

# Raised whenever the same artifact is read differently.
_RULES = "1"


class StoredFacts:
    """Facts of locked artifacts, as far as ``store`` has these; ``absent``: the hashes of those it has not."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = store.root / "licenses" / _RULES
        self.absent: set[str] = set()

    def __call__(self, locked: LockedWheel | LockedDeb) -> Facts:
        kept = self._kept(locked.sha256)
        if kept is not None:
            return kept
        path = self._store.sound(locked.sha256, locked.size, getattr(locked, "file", locked.name))
        if path is None:
            self.absent.add(locked.sha256)
            return Facts()
        facts = read_wheel(path) if isinstance(locked, LockedWheel) else read_deb(path, locked.name)
        self._keep(locked.sha256, facts)
        return facts

    def read(self, locked: Iterable[object]) -> None:
        """Read those of ``locked`` that are wheels or .debs now. Raises :class:`FetchError` for bytes that were not
        locked, which is better said before an image is pushed than after."""
        for one in locked:
            if isinstance(one, LockedWheel | LockedDeb):
                self(one)

    def _kept(self, sha256: str) -> Facts | None:
        try:
            raw = json.loads((self._folder / sha256).read_text(encoding="utf-8"))
            names = tuple(str(name) for name in raw["names"])
            expression, source = raw["expression"], raw["source_version"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        if not all(value is None or isinstance(value, str) for value in (expression, source)):
            return None
        return Facts(License(expression, names), source)

    def _keep(self, sha256: str, facts: Facts) -> None:
        body = {
            "expression": facts.license.expression,
            "names": list(facts.license.names),
            "source_version": facts.source_version,
        }
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / sha256, json.dumps(body))
