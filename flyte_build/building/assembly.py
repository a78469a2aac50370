"""Makes the layers that the store lacks: fetches what they are made of, assembles, stores.

Downloads and assembly overlap: a layer is assembled as soon as its last artifact is there. Each layer derivation
is made once, whoever asks: of several images in one build they share it, of two builds at one time one waits and
finds it made. Where all artifacts are there, no HTTP client is loaded. Never decides which layers, never prints.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ..assemble.results import LayerResult
from ..deriving.derivation import Artifact, ImageDerivation, LayerDerivation
from ..kernel import tracing
from ..kernel.files import remove_tree
from ..kernel.reporting import Progress, Reporter
from ..native.feeding import THREADS, rest
from ..native.library import core
from ..store import LayerRealisation, Session
from ..store.files import storing
from ..store.locks import Busy
from .threads import Threads
from .writing import Writing, cancelled

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from ..sources.fetching import Fetcher
    from ..sources.places import Locator
    from .ahead import Ahead
    from .bytecode import Hosts

__all__ = ["Assembly", "at_once"]

_CONNECTIONS = 8  # Downloads at a time: indexes and mirrors are shared, and more help nobody.
_UNPACK_NOTHING = ("wheels", "files", "overlay")  # Kinds of layer that need no folder for it.


def at_once(asked: int | None) -> int:
    """How many layers are written at once: as ``asked``, else as many as there are processors for.

    Of one more the artifacts are hashed meanwhile, or it is brought to the disk. Python has one processor a layer.
    The core has several, and a second layer beside would take no less time, but memory of its own.
    """
    processors = os.cpu_count() or 1
    return asked or (max(1, processors // THREADS) if core().library is not None else processors)


class Assembly:
    """The threads of one build; decisions are taken in the caller's."""

    def __init__(
        self,
        session: Session,
        locator: Locator,
        reporter: Reporter,
        stop: threading.Event,
        hosts: Hosts | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        self._session = session
        self._store = session.store
        self._locator = locator
        self._reporter = reporter
        self._stop = stop
        self._hosts = hosts
        self._ahead = ahead
        # Of the whole build: what one layer unpacked of a Debian package, the next one finds here.
        self._scratch = session.temporary("scratch")
        self._writing = Writing(session, reporter, stop, self._scratch)

    def run(
        self, images: Sequence[ImageDerivation], jobs: int, known: Mapping[str, LayerResult] | None = None
    ) -> dict[str, tuple[LayerResult, bool]]:
        """Every layer of ``images`` by its derivation: what it is, and whether it was there.

        ``known``: layers that lie elsewhere and need not be made here.
        """
        wanted = {layer.hash: layer for image in images for layer in image.layers}
        layers: dict[str, tuple[LayerResult, bool]] = {}
        todo: list[LayerDerivation] = []
        there: dict[str, LayerRealisation] = {}
        for derivation, layer in wanted.items():
            if (realised := self._store.layer(derivation)) is not None:
                there[derivation] = realised
            elif known and derivation in known:
                layers[derivation] = known[derivation], True
            else:
                todo.append(layer)

        def listed() -> None:
            layers.update({derivation: (self._listed(derivation, r), True) for derivation, r in there.items()})

        compiled = {layer.hash for layer in todo if layer.kind == "bytecode"}
        if compiled or not todo:
            listed()
        if compiled:
            return layers | self._compiled(images, compiled, todo, jobs)
        if todo:
            # The largest first: they decide when the last one is done. What the others hold is read meanwhile.
            made = self._make(sorted(todo, key=lambda x: -x.fetch_size), jobs, listed)
            layers |= {derivation: (result, False) for derivation, result in made.items()}
        return layers

    def _compiled(
        self, images: Sequence[ImageDerivation], compiled: set[str], todo: Sequence[LayerDerivation], jobs: int
    ) -> dict[str, tuple[LayerResult, bool]]:
        """All of ``todo``, with the layers of bytecode whose hashes are ``compiled``: first what they are made of."""
        from .bytecode import compile_layers, wanted_of

        wanted = {}
        for image in images:
            for layer in image.layers:
                if layer.hash in compiled and layer.hash not in wanted:
                    wanted[layer.hash] = wanted_of(layer, image, self._hosts)
        needed = {x.hash: x for one in wanted.values() for x in one.needs}
        there = {derivation: found for derivation in needed if (found := self._stored(derivation)) is not None}
        first = {x.hash: x for x in todo if x.hash not in compiled} | needed
        rest = [layer for derivation, layer in first.items() if derivation not in there]
        made = self._make(sorted(rest, key=lambda x: -x.fetch_size), jobs) if rest else {}
        made |= compile_layers(list(wanted.values()), there | made, self._session, self._reporter)
        return {derivation: (result, False) for derivation, result in made.items()}

    def _make(
        self, todo: Sequence[LayerDerivation], jobs: int, meanwhile: Callable[[], None] | None = None
    ) -> dict[str, LayerResult]:
        needed = {a.sha256: a for layer in todo for a in layer.artifacts}
        absent = {sha: a for sha, a in needed.items() if self._store.artifact(sha, a.size) is None}
        # One that was found to be other bytes a moment ago, and moved aside, is an error; the next build fetches it.
        missing = {sha: a for sha, a in absent.items() if self._session.artifact(sha, a.size, a.file) is None}
        with ExitStack() as stack:
            if any(layer.kind not in _UNPACK_NOTHING for layer in todo):
                with storing(self._scratch):
                    self._scratch.mkdir()
                stack.callback(remove_tree, self._scratch)
            self._writing.at_once(jobs)
            pool = Threads(jobs + 1)
            stack.callback(rest)
            stack.callback(pool.close)
            stack.callback(self._stop.set)
            fetcher: Fetcher | None = None
            tracing.tell("store", f"{len(todo)} layers to assemble; artifacts to fetch: {len(missing)}")
            if missing:
                from ..sources.fetching import Fetcher

                total = sum(a.size for a in missing.values())
                bar = stack.enter_context(self._reporter.work("fetch", total, unit="bytes"))
                fetcher = stack.enter_context(
                    Fetcher(self._session, self._locator, bar.advance, self._stop, _CONNECTIONS)
                )
            progress = stack.enter_context(self._reporter.work("assemble", len(todo), unit="items"))
            return self._pipeline(todo, missing, fetcher, pool, progress, meanwhile)

    def _pipeline(
        self,
        todo: Sequence[LayerDerivation],
        missing: Mapping[str, Artifact],
        fetcher: Fetcher | None,
        pool: Threads,
        progress: Progress,
        meanwhile: Callable[[], None] | None,
    ) -> dict[str, LayerResult]:
        """Each layer is assembled when the last thing it lacks is there. What fails first calls off the rest.

        Things are artifacts, by SHA-256, and for a ``system`` layer also the ``debian`` layers of its packages, by
        derivation: it reads little of what they unpack, and unpacking twice at one time costs a processor.
        """
        events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        lacking = {layer.hash: {a.sha256 for a in layer.artifacts if a.sha256 in missing} for layer in todo}
        for layer in todo:
            if layer.kind == "system":
                lacking[layer.hash] |= {other.hash for other in todo if _unpacks_for(other, layer)}
        users: dict[str, list[LayerDerivation]] = {}
        made: dict[str, LayerResult] = {}

        def assemble(layer: LayerDerivation) -> None:
            def work() -> None:
                try:
                    result = self._assemble(layer)
                except BaseException as e:
                    events.put(partial(failed, e))
                else:
                    events.put(partial(finished, layer, result))

            pool.submit(work)

        def failed(e: BaseException) -> None:
            raise e

        def finished(layer: LayerDerivation, result: LayerResult) -> None:
            made[layer.hash] = result
            progress.advance()
            there(layer.hash)

        def arrived(sha256: str, future: Future[Path]) -> None:
            future.result()
            there(sha256)

        def there(thing: str) -> None:
            for layer in users.get(thing, ()):
                lacking[layer.hash].discard(thing)
                if not lacking[layer.hash]:
                    assemble(layer)

        def landed(sha256: str, future: Future[Path]) -> None:
            events.put(lambda: arrived(sha256, future))

        for layer in todo:
            for thing in lacking[layer.hash]:
                users.setdefault(thing, []).append(layer)
            if not lacking[layer.hash]:
                assemble(layer)
        for artifact in missing.values():
            assert fetcher is not None
            fetching = fetcher.submit(artifact)
            fetching.add_done_callback(partial(landed, artifact.sha256))
        if meanwhile is not None:
            meanwhile()
        while len(made) < len(todo):
            events.get()()
        return made

    def _assemble(self, layer: LayerDerivation) -> LayerResult:
        def waits() -> None:
            self._reporter.note(f"waiting for another build, which makes `{layer.title}`")

        if self._ahead is not None and (begun := self._ahead.holds(layer.hash)) is not None:
            try:
                return self._writing.write(layer, begun)
            finally:
                self._ahead.close()
        try:
            with self._session.making(layer.hash, waits):
                # The other build, if there was one, has made it by now.
                found = self._stored(layer.hash)
                return found if found is not None else self._writing.write(layer)
        except Busy:
            raise cancelled() from None

    def _stored(self, derivation: str) -> LayerResult | None:
        found = self._store.layer(derivation)
        return self._listed(derivation, found) if found is not None else None

    def _listed(self, derivation: str, found: LayerRealisation) -> LayerResult:
        listing = dict(self._store.listing(derivation))
        return LayerResult(found.digest, found.size, found.diff_id, found.diff_size, listing)


def _unpacks_for(other: LayerDerivation, system: LayerDerivation) -> bool:
    """Whether ``other`` makes a layer of packages that ``system`` reads, too."""
    return other.kind == "debian" and not {a.sha256 for a in other.artifacts}.isdisjoint(
        a.sha256 for a in system.artifacts
    )
