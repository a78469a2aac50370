"""Which images a document is asked about, and what is known of each: from a user's file, or from a lock file alone.

Nothing has to be built: an image's digest is known once somebody pinned it or built it here, and is left out before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.errors import InputError, LockError
from ..locks.lockfile import parse
from ..locks.nouns import Lock
from ..store import Store
from .artifact_metadata import StoredFacts
from .documents import copied, made_of
from .packages import Inventory, inventory
from .provenance import Made

if TYPE_CHECKING:
    from ..planning.workspace import Workspace

__all__ = ["Described", "of_lock_file", "of_workspace"]


@dataclass(frozen=True, slots=True)
class Described:
    """One image: its lock, what is in it, and what is known of its making."""

    lock: Lock
    image: Inventory
    made: Made | None


def of_workspace(
    workspace: Workspace, names: Sequence[str], platform: str | None, store: Store, facts: StoredFacts
) -> list[Described]:
    """The images of the environments ``names`` on ``platform`` (``None``: this machine's; ``all``: every one).

    The digest is that of the pin, or of the image in the store, where its derivation is the one that would be built
    now. Raises :class:`LockError` for locks that are missing or stale.
    """
    environments = [workspace.project.environments[name] for name in names]
    locks = workspace.locks(environments)
    out = []
    for wanted in workspace.platforms(environments, platform):
        for derivation in workspace.derivations(environments, locks, wanted):
            lock = locks[derivation.environment]
            pin = lock.pins.get(wanted)
            built = store.image(derivation.hash)
            digest = built.manifest if built is not None else None
            if pin is not None and pin.derivation == derivation.hash:
                digest = pin.digest
            image = inventory(lock, wanted, digest=digest, facts=facts)
            out.append(Described(lock, image, Made(derivation.hash, copied(derivation.spec))))
    return out


def of_lock_file(path: Path, platform: str | None, store: Store, facts: StoredFacts) -> list[Described]:
    """The images of the lock in ``path``, without the user's code; ``platform`` as :func:`of_workspace`.

    The digest is the pin's, whatever copied files are now. Raises :class:`LockError` for a file that is no lock.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else str(e)
        raise LockError(
            f"{path}: cannot be read: {why}", hint="give a lock (lockfiles/ENVIRONMENT.json), or the Python file"
        ) from None
    lock = parse(text, path)
    out = []
    for wanted in _platforms(lock, platform, path):
        pin = lock.pins.get(wanted)
        image = inventory(lock, wanted, digest=pin.digest if pin is not None else None, facts=facts)
        out.append(Described(lock, image, made_of(store, pin.derivation) if pin is not None else None))
    return out


def _platforms(lock: Lock, asked: str | None, path: Path) -> list[str]:
    from ..kernel.platforms import host_platform

    if asked == "all":
        return sorted(lock.platforms)
    if asked is None and len(lock.platforms) == 1:
        return list(lock.platforms)
    wanted = asked or host_platform()
    if wanted not in lock.platforms:
        raise InputError(f"{path}: the lock is not for {wanted}, but for {', '.join(sorted(lock.platforms))}")
    return [wanted]
