"""An artifact by its hash, from wherever configuration says, into the store.

Several at a time, resumed where an interruption left them, retried where that helps. Nothing enters the store whose
SHA-256 is not the one asked for (law 5). Never chooses what to fetch, and asks no network for what is here.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ..deriving.derivation import Artifact
from ..kernel import tracing
from ..kernel.errors import FetchError
from ..kernel.reporting import Reporter
from ..kernel.waiting import wait_for
from ..store import Session, Store
from ..store.files import copy_verified
from .download import NOT_AS_LOCKED, Cancelled, Failed, Lines, Partial, Transient, download, redact
from .locators import project_locator
from .places import Locator, Place

__all__ = ["Fetcher", "fetch", "project_locator"]

# Tries without progress before a URL is given up; bytes that count as progress.
_TRIES = 5
_PROGRESS = 1 << 20


def fetch(
    artifacts: Iterable[Artifact],
    store: Store,
    *,
    locator: Locator,
    reporter: Reporter,
    jobs: int = 8,
) -> dict[str, Path]:
    """Bring all ``artifacts`` into ``store``; their paths by SHA-256. ``jobs`` at a time.

    Raises :class:`FetchError` for the first that cannot be had, and stops the others; what has arrived of them is
    kept for the next time.
    """
    wanted = {a.sha256: a for a in artifacts}
    found = {sha: path for sha, a in wanted.items() if (path := store.sound(sha, a.size, a.file))}
    missing = [a for sha, a in wanted.items() if sha not in found]
    tracing.tell("store", f"{len(found)} of {len(wanted)} artifacts are there; to fetch: {len(missing)}")
    if not missing:
        return found
    stop = threading.Event()
    with reporter.work("fetch", sum(a.size for a in missing), unit="bytes") as progress, store.session() as session:
        with Fetcher(session, locator, progress.advance, stop, jobs) as fetcher:
            futures = [fetcher.submit(a) for a in missing]
            try:
                wait_for(futures)
                raise_first(futures)
            finally:
                stop.set()
        session.sync()
    return found | {a.sha256: store.artifact_path(a.sha256) for a in missing}


def raise_first(futures: Iterable[Future[Path]]) -> None:
    """Raise what the first failed future met, and not that others were called off because of it."""
    errors = [e for f in futures if f.done() and not f.cancelled() and (e := f.exception()) is not None]
    for error in sorted(errors, key=lambda e: isinstance(e, Cancelled)):
        raise error


class Fetcher:
    """Fetches in threads of its own for the time of a ``with`` block. ``advance`` hears of bytes, from any thread."""

    def __init__(
        self,
        session: Session,
        locator: Locator,
        advance: Callable[[int], None],
        stop: threading.Event,
        jobs: int = 8,
    ) -> None:
        self._session = session
        self._store = session.store
        self._locator = locator
        self._count = advance
        self._stop = stop
        self._jobs = max(1, jobs)
        self._guard = threading.Lock()
        self._lines = Lines()
        self._pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="fetch")

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            self._stop.set()
            self._lines.cut()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._locator.close()

    def submit(self, artifact: Artifact) -> Future[Path]:
        return self._pool.submit(self.fetch, artifact)

    def fetch(self, artifact: Artifact) -> Path:
        """The artifact's path in the store, fetched if need be. Raises :class:`FetchError`."""
        partial_path = self._store.partial / artifact.sha256
        with Partial(partial_path, self._advance, self._stop.is_set) as partial:
            # Another build may have brought it while we waited for the lock.
            if path := self._store.artifact(artifact.sha256, artifact.size):
                with suppress(OSError):
                    partial_path.unlink()
                self._advance(artifact.size)
                return path
            partial.load(artifact.size)
            if partial.size < artifact.size or partial.sha256() != artifact.sha256:
                if partial.size == artifact.size:
                    partial.reset()
                whole = self._from_anywhere(artifact, partial)
            else:
                whole = partial_path
            done = self._session.put_artifact(whole, artifact.sha256)
            if whole != partial_path:
                partial_path.unlink()
            return done

    def _from_anywhere(self, artifact: Artifact, partial: Partial) -> Path:
        """The path of a file with the artifact's bytes, verified; ``partial``'s or a copy."""
        failures: list[tuple[str, Failed]] = []
        try:
            for place in self._locator.places(artifact):
                if self._stop.is_set():
                    raise Cancelled
                try:
                    return self._from(place, artifact, partial)
                except Failed as e:
                    failures.append((place.url, e))
        except FetchError as e:
            if not failures:
                raise
            failures.append(("", Failed(e.message, e.hint)))
        raise _error(artifact, failures)

    def _from(self, place: Place, artifact: Artifact, partial: Partial) -> Path:
        if place.stream is None:
            return self._copy(place.url, artifact, partial)
        tries, resumed, doubted = 0, partial.size > 0, False
        while True:
            before = partial.size
            try:
                download(place.stream, place.url, partial, artifact.size, self._lines)
            except Transient as e:
                tries = 1 if partial.size - before >= _PROGRESS else tries + 1
                if tries >= _TRIES:
                    raise Failed(str(e)) from None
                resumed = resumed or partial.size > 0
                self._pause(e.wait if e.wait is not None else _backoff(tries))
                continue
            found = partial.sha256()
            if found == artifact.sha256:
                return partial.path
            partial.reset()
            if doubted or not resumed:
                raise Failed(f"expected SHA-256 {artifact.sha256}, found {found}", NOT_AS_LOCKED)
            # The bytes from an earlier time may be the bad ones: once more, from the start.
            doubted = True

    def _copy(self, url: str, artifact: Artifact, partial: Partial) -> Path:
        source = Path(url2pathname(urlsplit(url).path))
        temporary = self._session.temporary("copy")
        try:
            found, size = copy_verified(source, temporary, limit=artifact.size)
        except OSError as e:
            raise Failed(f"cannot be read: {e.strerror or e}") from None
        if found != artifact.sha256:
            temporary.unlink()
            if artifact.source is None:
                raise Failed("changed since it was planned", "run again when nothing writes to the file")
            more = f"more than {artifact.size}" if size > artifact.size else str(size)
            raise Failed(f"expected SHA-256 {artifact.sha256}, found {found} ({more} bytes)", NOT_AS_LOCKED)
        partial.reset()
        self._advance(size)
        return temporary

    def _advance(self, amount: int) -> None:
        with self._guard:
            self._count(amount)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Cancelled


def _backoff(tries: int) -> float:
    """Seconds before the next try: doubling, and not all at the same moment."""
    return float(0.25 * 2**tries * random.uniform(0.75, 1.25))


def _error(artifact: Artifact, failures: list[tuple[str, Failed]]) -> FetchError:
    if not failures:
        return FetchError(
            f"{artifact.file}: no place is known to have SHA-256 {artifact.sha256}",
            hint="check the configured indexes and mirrors, or lock again",
        )
    reasons = [f"{redact(url)}: {failure}" if url else str(failure) for url, failure in failures]
    listed = " " + reasons[0] if len(reasons) == 1 else "\n" + "\n".join(f"  {reason}" for reason in reasons)
    hints = [failure.hint for _, failure in failures if failure.hint]
    hint = "check the network and the configured indexes and mirrors, then run again: it goes on where it stopped"
    return FetchError(f"{artifact.file}: cannot be fetched:{listed}", hint=hints[0] if hints else hint)
