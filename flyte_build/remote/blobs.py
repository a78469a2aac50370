"""Blobs on their way to repositories: what is there stays, what lies beside is mounted, and only the rest travels.

A blob that several repositories of one registry need is sent to one of them and mounted in the others. One that is
not on this machine comes from where it lies, first by a mount, else through here. Every byte is accounted for once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..kernel.errors import RegistryError
from ..kernel.reporting import Progress
from ..registry.reference import Reference
from ..store import Session
from ..store.checked import sound_blob
from ..store.files import storing
from .threads import Stopped

if TYPE_CHECKING:
    from ..registry.client import Registry

__all__ = ["Blob", "Mover", "SourceGone", "Tally"]


class SourceGone(RegistryError):
    """A blob is not where it was said to be: ``repository`` lacks ``digest``, or has something else under it."""

    def __init__(self, digest: str, repository: str, reason: str) -> None:
        super().__init__(f"{repository} does not have {digest}: {reason}")
        self.digest = digest
        self.repository = repository


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob to be moved: a file here (``path``), or only in the repository ``source`` (``host/name``)."""

    digest: str
    size: int
    path: Path | None = None
    source: str | None = None


@dataclass(slots=True)
class Tally:
    """Bytes by what became of them."""

    uploaded: int = 0
    mounted: int = 0
    existing: int = 0

    def add(self, outcome: str, size: int) -> None:
        if outcome == "uploaded":
            self.uploaded += size
        elif outcome == "mounted":
            self.mounted += size
        else:
            self.existing += size


@dataclass(slots=True)
class Mover:
    """``holders``: digest → repositories that are known to have it. Methods may be called from several threads.

    ``elsewhere`` reads while ``registry`` writes: each has connections of its own, so neither waits for the other.
    """

    registry: Registry
    elsewhere: Registry
    session: Session
    bar: Progress
    stop: threading.Event
    holders: dict[str, set[Reference]] = field(default_factory=dict)
    _brought: dict[str, Path] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def move(
        self, blob: Blob, repositories: Iterable[Reference], near: Iterable[Reference] = ()
    ) -> Mapping[Reference, str]:
        """Bring ``blob`` to ``repositories``; what it took, by repository: ``exists``, ``mounted`` or ``uploaded``.

        ``near``: repositories that may have it. Raises :class:`RegistryError`, :class:`SourceGone` where the blob is
        not where it should be.
        """
        wanted = list(dict.fromkeys(repositories))
        done: dict[Reference, str] = {}
        holders = self.holders.setdefault(blob.digest, set())
        if blob.source is not None:
            holders.add(Reference.parse(blob.source))
        if len(wanted) > 1 and not holders:
            # Whoever has it already spares the others the upload.
            for repository in wanted:
                if self.registry.blob(repository, blob.digest) is not None:
                    holders.add(repository)
                    done[repository] = "exists"
                    self._advance(blob.size)
        for repository in wanted:
            if repository not in done:
                done[repository] = self._push(blob, repository, holders, near)
                holders.add(repository)
        return done

    def _push(self, blob: Blob, repository: Reference, holders: set[Reference], near: Iterable[Reference]) -> str:
        self._check()
        # A mount that fails opens the upload, so asking one repository that may have it costs nothing.
        beside = [h.repository for h in (*holders, *near) if h.host == repository.host and h != repository]
        try:
            outcome = self.registry.push_blob(
                repository,
                blob.digest,
                blob.size,
                self._opener(blob),
                mount_from=beside[:1],
                advance=self._advance,
            )
        except RegistryError:
            # The client sends no last piece of other bytes than were said. Those of the store are then no use there.
            if blob.path is not None:
                sound_blob(self.session.store.root, blob.path)
            raise
        return str(outcome)

    def _opener(self, blob: Blob) -> Callable[[int], BinaryIO]:
        def opened(offset: int) -> BinaryIO:
            self._check()
            path = blob.path or self._bring(blob)
            with storing(path):
                file = open(path, "rb")  # noqa: SIM115
                file.seek(offset)
            return file

        return opened

    def _bring(self, blob: Blob) -> Path:
        """A copy of a blob that is not here, for the time of the session."""
        with self._guard:
            if blob.digest in self._brought:
                return self._brought[blob.digest]
        assert blob.source is not None, "a blob is here or somewhere"
        path = self.session.temporary("passing")
        try:
            with storing(path, blob.size):
                self.elsewhere.pull_blob(
                    Reference.parse(blob.source), blob.digest, blob.size, path, advance=lambda _: self._check()
                )
        except RegistryError as e:
            raise SourceGone(blob.digest, blob.source, e.message) from None
        with self._guard:
            self._brought[blob.digest] = path
        return path

    def _advance(self, amount: int) -> None:
        self._check()
        self.bar.advance(amount)

    def _check(self) -> None:
        if self.stop.is_set():
            raise Stopped
