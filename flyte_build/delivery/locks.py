"""A bundle's locks against those of a folder. Never resolves, never merges: which of two locks holds is for people."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ..kernel.errors import ArtifactError, LockError
from ..locks.lockfile import Lock, lock_path, parse

__all__ = ["check_locks", "read_lock"]

# Lines of a difference that are shown; a lock has one artifact a line.
_SHOWN = 60


def read_lock(data: bytes, environment: str, bundle: Path) -> Lock:
    """The lock in ``data``, which has to be that of ``environment``.

    Raises :class:`LockError` for a lock that this flyte-build does not understand, and :class:`ArtifactError` for one
    that is not where it belongs.
    """
    where = Path(f"{bundle}: locks/{environment}.json")
    try:
        lock = parse(data.decode("utf-8"), where)
    except (UnicodeDecodeError, RecursionError) as e:
        raise ArtifactError(f"{where}: expected a lock: {e}", hint="have the bundle made and sent again") from None
    if lock.environment != environment:
        raise ArtifactError(
            f"{where}: expected the lock of environment {environment}, found that of {lock.environment}"
        )
    return lock


def check_locks(directory: Path, locks: Sequence[Lock], *, force: bool) -> None:
    """Raise :class:`LockError` where a lock in ``directory`` is not as in ``locks``; with ``force`` that may be."""
    if force:
        return
    differing: list[str] = []
    lines: list[str] = []
    for lock in locks:
        path = lock_path(directory, lock.environment)
        try:
            there = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as e:
            raise LockError(f"{path}: cannot be read: {e}") from None
        if there != lock.text():
            differing.append(lock.environment)
            compared = (there.splitlines(), lock.text().splitlines())
            lines += difflib.unified_diff(*compared, f"{path}", "the bundle's", lineterm="", n=0)
    if differing:
        more = len(lines) - _SHOWN
        shown = [line if len(line) <= 200 else line[:197] + "..." for line in islice(lines, _SHOWN)]
        raise LockError(
            f"{directory}: expected no locks, or the bundle's; found others for {', '.join(differing)}",
            hint="unbundle into another folder with --lockfiles DIR, or replace the locks there with --force",
            detail="\n".join([*shown, *([f"... and {more} lines more"] if more > 0 else [])]),
        )
