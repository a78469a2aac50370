"""Which environments' actions come in company: there a worker pays from the first one on.

    roots/<manifest hex>.company    {"schema": 1, "environments": [names]}, of those of whose actions on this image the
                                    last run that had any had more than one

A worker takes as long to start as an action that starts cold, and a fork of it comes on top: an environment's only
action ends sooner without one, and takes less. How many there will be nobody can tell, but it is mostly as it was. So
the first action of an environment that is not known for company starts cold, and the second one has a worker started.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path

from ...kernel.documents import parse_object
from ...kernel.files import write_whole
from ...store.seal_files import beside

__all__ = ["Company"]

_SCHEMA = 1


class Company:
    """Of one run. Images are told by the folders of their roots, beside which it is kept."""

    def __init__(self) -> None:
        self._known: dict[Path, frozenset[str]] = {}
        self._had: Counter[tuple[Path, str]] = Counter()

    def joins(self, root: Path, environment: str) -> bool:
        """One more action: whether it has company, now or in all likelihood."""
        self._had[root, environment] += 1
        return self._had[root, environment] > 1 or environment in self._of(root)

    def end(self) -> None:
        """Keep what there was, where the store may be written to."""
        for root in {root for root, _ in self._had}:
            had = {e: count for (r, e), count in self._had.items() if r == root}
            now = self._of(root) - had.keys() | {e for e, count in had.items() if count > 1}
            if now != self._of(root):
                with suppress(OSError):
                    document = {"schema": _SCHEMA, "environments": sorted(now)}
                    write_whole(beside(root, ".company"), json.dumps(document))
                self._known[root] = frozenset(now)

    def _of(self, root: Path) -> frozenset[str]:
        known = self._known.get(root)
        if known is None:
            known = self._known[root] = _read(root)
        return known


def _read(root: Path) -> frozenset[str]:
    with suppress(OSError, ValueError, TypeError, LookupError):
        found = parse_object(beside(root, ".company").read_bytes())
        if found.get("schema") == _SCHEMA:
            return frozenset(map(str, found["environments"]))
    return frozenset()
