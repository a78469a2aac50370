"""A project that is locked, built and pinned, for what is held against it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flyte_build.locks.lockfile import read, write
from flyte_build.store import Store

from .offline import Offline
from .tampering import Member

AMD64 = "linux/amd64"


@dataclass(frozen=True)
class Built:
    """``flow.py`` locked and built, with pins in its locks. ``digests`` are by environment."""

    offline: Offline
    store: Store
    digests: dict[str, str]

    def pin(self, environment: str, **changes: str) -> None:
        """Change the pin in the lock."""
        lock = read(self.offline.lockfiles, environment)
        assert lock is not None
        pins = {AMD64: replace(lock.pins[AMD64], **changes)}
        write(self.offline.lockfiles, replace(lock, pins=pins))

    def derivation(self, environment: str) -> str:
        lock = read(self.offline.lockfiles, environment)
        assert lock is not None
        return lock.pins[AMD64].derivation


def chmod(members: list[Member]) -> None:
    next(m for m in members if m.info.name.endswith("/__init__.py")).info.mode = 0o755
