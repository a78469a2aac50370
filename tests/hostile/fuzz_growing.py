"""What the fuzzer found, kept: of each target's inputs the smallest that together reach every line that any reached."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from contextlib import suppress

from .fuzz import Crash, Fuzzed, one
from .fuzz_guard import Guard
from .fuzz_paths import lines
from .fuzz_targets import CORPUS, FOUND, TARGETS, seeds

__all__ = ["grow"]

_DATE = (1980, 1, 1, 0, 0, 0)
_LARGEST = 32 << 10


def grow(done: Iterable[Fuzzed]) -> None:
    """Write ``found.zip`` of each corpus that what was found adds to. What crashes is not kept: it gets a name."""
    by_folder: dict[str, list[Fuzzed]] = {}
    for fuzzed in done:
        by_folder.setdefault(TARGETS[fuzzed.target].seeds, []).append(fuzzed)
    for folder, some in by_folder.items():
        path = CORPUS / folder / FOUND
        before = _read(path)
        made = [data for data in seeds(TARGETS[some[0].target]) if data not in before]
        kept: list[bytes] = []
        # Each target of a corpus has lines of its own to reach.
        for fuzzed in some:
            reached = set().union(*(_lines(fuzzed.target, data) for data in [*made, *kept]))
            for data in sorted({*before, *fuzzed.found} - {*kept}, key=lambda d: (len(d), d)):
                if len(data) <= _LARGEST and (new := _lines(fuzzed.target, data) - reached):
                    reached |= new
                    kept.append(data)
        if kept != before:
            _write(path, kept)


def _lines(name: str, data: bytes) -> set[tuple[str, int]]:
    crashed: list[bool] = []

    def run() -> None:
        try:
            one(name, data, guard)
        except Crash:
            crashed.append(True)

    with Guard() as guard:
        found = lines(run)
    return set() if crashed else found


def _read(path: object) -> list[bytes]:
    with suppress(FileNotFoundError), zipfile.ZipFile(str(path)) as archive:
        return [archive.read(name) for name in archive.namelist()]
    return []


def _write(path: object, kept: Iterable[bytes]) -> None:
    with zipfile.ZipFile(str(path), "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for data in sorted(kept):
            archive.writestr(zipfile.ZipInfo(hashlib.sha256(data).hexdigest()[:16], _DATE), data, zipfile.ZIP_DEFLATED)
