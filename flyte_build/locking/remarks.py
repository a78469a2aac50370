"""What a person is told of locks that were just made, besides what changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..locks.lockfile import Lock

__all__ = ["disagreements", "other_wheels", "vanished"]


def disagreements(locks: Mapping[str, Lock]) -> list[str]:
    """Packages that environments solved at different times hold in different versions, though none is apart."""
    held: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for name, lock in locks.items():
        for platform, locked in lock.platforms.items():
            for wheel in locked.wheels if lock.apart is None else ():
                versions = held.setdefault((wheel.name, lock.python, platform), {})
                versions.setdefault(wheel.version, []).append(name)
    notes = []
    for (package, _, _), versions in sorted(held.items()):
        if len(versions) > 1:
            shown = ", ".join(f"{v} in {' and '.join(sorted(names))}" for v, names in sorted(versions.items()))
            notes.append(f"{package}: {shown}; `--upgrade-package {package}` solves them together")
    return list(dict.fromkeys(notes))


def vanished(existing: Iterable[str], known: Iterable[str]) -> list[str]:
    """Locks that nobody was asked to make. Files may share a folder of locks: they are named, and not judged."""
    gone = sorted(set(existing) - set(known))
    if not gone:
        return []
    return [f"left as they are, as no environment of this file has their name: {', '.join(f'{n}.json' for n in gone)}"]


def other_wheels(lock: Lock, before: Lock | None) -> bool:
    """Whether other wheels are in the image than before."""
    return before is None or {p: x.wheels for p, x in lock.platforms.items()} != {
        p: x.wheels for p, x in before.platforms.items()
    }
