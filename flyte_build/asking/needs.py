"""What an artifact says that it needs: a wheel's ``Requires-Dist``, a .deb's ``Depends``. Read once, kept by its hash.

The store is asked first. A wheel that is not there is asked for its METADATA where configuration says that it lies:
a few kilobytes at its end. A .deb would have to be fetched whole, and is not.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..assemble.deb import open_deb
from ..assemble.errors import AssembleError
from ..kernel.files import write_whole
from ..kernel.reporting import Reporter
from ..kernel.scratch import scratch
from ..locks.nouns import LockedDeb, LockedWheel
from ..sources.indexes.metadata import LONGEST, damage, parse, read_text
from ..store import Store

if TYPE_CHECKING:
    from ..sources.places import Locator

__all__ = ["Needs", "Stated"]

# Raised whenever the same artifact is read differently.
_RULES = "1"
_METADATA = ".dist-info/METADATA"
Locked: TypeAlias = LockedWheel | LockedDeb


@dataclass(frozen=True, slots=True)
class Stated:
    """``needs``: a wheel's requirements (PEP 508), a .deb's clauses (policy 7.1); ``provides``: its other names."""

    needs: tuple[str, ...]
    provides: tuple[str, ...] = ()


class Needs:
    """What locked artifacts state, as far as ``store`` has them and ``locator`` names places for the others.

    ``unread``: those of which nothing is known; none is asked for twice.
    """

    def __init__(self, store: Store, locator: Locator | None, reporter: Reporter) -> None:
        self._store, self._locator, self._reporter = store, locator, reporter
        self._folder = store.root / "needs" / _RULES
        self._known: dict[str, Stated] = {}
        self.unread: dict[str, Locked] = {}

    def read(self, every: Iterable[Locked]) -> None:
        """Read what ``every`` artifact states, so that :meth:`__call__` knows it."""
        missing: dict[str, Locked] = {}
        for one in every:
            if one.sha256 not in self._known and one.sha256 not in self.unread:
                found = self._kept(one.sha256) or self._here(one)
                if found is None:
                    missing[one.sha256] = one
                else:
                    self._known[one.sha256] = found
        far = [one for one in missing.values() if isinstance(one, LockedWheel)] if self._locator is not None else []
        if far:
            with (
                self._reporter.work("reading what wheels require", len(far)) as progress,
                ThreadPoolExecutor(max_workers=min(8, len(far))) as pool,
            ):
                for wheel, found in zip(far, pool.map(self._far, far), strict=True):
                    if found is not None:
                        self._known[wheel.sha256] = found
                        del missing[wheel.sha256]
                    progress.advance()
            assert self._locator is not None
            self._locator.close()
        self.unread |= missing

    def __call__(self, one: Locked) -> Stated | None:
        """What ``one`` states; ``None`` where nobody here knows."""
        if one.sha256 not in self._known:
            self.read([one])
        return self._known.get(one.sha256)

    # -- where it is read ------------------------------------------------------------------------------

    def _here(self, one: Locked) -> Stated | None:
        path = self._store.sound(one.sha256, one.size, one.file)
        if path is None:
            return None
        found = _of_wheel(path) if isinstance(one, LockedWheel) else _of_deb(path)
        return found if found is None else self._keep(one.sha256, found)

    def _far(self, wheel: LockedWheel) -> Stated | None:
        from ..sources.peeking import metadata_of

        assert self._locator is not None
        text = metadata_of(self._locator, wheel)
        return None if text is None else self._keep(wheel.sha256, Stated(parse(text)[0]))

    # -- what was read before --------------------------------------------------------------------------

    def _kept(self, sha256: str) -> Stated | None:
        try:
            raw = json.loads((self._folder / sha256).read_text(encoding="utf-8"))
            return Stated(tuple(map(str, raw["needs"])), tuple(map(str, raw["provides"])))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def _keep(self, sha256: str, stated: Stated) -> Stated:
        """A cache: what cannot be written is read again."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / sha256, json.dumps({"needs": stated.needs, "provides": stated.provides}))
        return stated


def _of_wheel(path: Path) -> Stated | None:
    try:
        with damage(), zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith(_METADATA)]
            return Stated(parse(read_text(archive, names[0]))[0]) if len(names) == 1 else None
    except (OSError, zipfile.BadZipFile):
        return None


def _of_deb(path: Path) -> Stated | None:
    try:
        with scratch() as folder:
            fields = open_deb(path, folder, path.name, "package").control.fields
    except (OSError, AssembleError):
        return None
    needs = [clause for field in ("Pre-Depends", "Depends") for clause in _clauses(fields.get(field, "")[:LONGEST])]
    provides = [clause.partition(" ")[0] for clause in _clauses(fields.get("Provides", "")[:LONGEST])]
    return Stated(tuple(dict.fromkeys(needs)), tuple(provides))


def _clauses(text: str) -> list[str]:
    return [" ".join(clause.split()) for clause in text.split(",") if clause.strip()]
