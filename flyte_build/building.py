"""Executes a plan: fetch, assemble, store. What is realised is reused; what to build is decided elsewhere.

Downloads and assembly overlap: a layer is assembled as soon as its last artifact is there. Each layer derivation
is made once, whoever asks: of several images here they share it, of two builds at one time one waits and finds it
made. Everything made is in the store before anything refers to it, so whatever stops a build, the next one goes
on from there. Never resolves, never prints.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import cast

from isal import isal_zlib

from .assemble.blob import Inflate
from .assemble.errors import AssembleError
from .assemble.image import check_image, image_config, image_manifest
from .assemble.layer import LayerResult, write_layer
from .derivation import Artifact, ImageDerivation, LayerDerivation
from .download import Cancelled
from .errors import ArtifactError
from .fetch import Fetcher
from .locators import Locator
from .reporting import Progress, Reporter
from .store import ImageRealisation, LayerRealisation, Session, Store, layout
from .store.files import storing
from .store.locks import Busy

__all__ = ["BuiltImage", "BuiltLayer", "build"]

# Downloads at a time. Indexes and mirrors are shared; more connections help nobody.
_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """One layer of a built image; ``reused``: it was in the store before. Sizes in bytes."""

    title: str
    derivation: str
    digest: str
    size: int
    diff_id: str
    reused: bool


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image in the store, under the name ``store.layout.ref_name(environment, platform)``.

    ``size``: bytes of all its blobs. ``seconds``: from the start of the build until this image was there; 0 for
    one that was (``reused``).
    """

    environment: str
    platform: str
    derivation: str
    manifest_digest: str
    size: int
    layers: tuple[BuiltLayer, ...]
    seconds: float
    reused: bool


def build(
    images: Sequence[ImageDerivation],
    store: Store,
    *,
    locator: Locator,
    reporter: Reporter,
    jobs: int | None = None,
) -> list[BuiltImage]:
    """Realise all ``images`` in ``store``; the result is in their order.

    ``jobs``: layers assembled at a time (default: the processors). Nothing is fetched for what the store has.
    Raises :class:`FetchError`, :class:`ArtifactError` and :class:`StoreError`; what was finished by then stays.
    """
    started = time.monotonic()
    done: dict[str, BuiltImage] = {}
    missing: dict[str, ImageDerivation] = {}
    with store.reading():
        for image in images:
            found = store.image(image.hash)
            if found is None:
                missing[image.hash] = image
            else:
                done[image.hash] = _reused(store, image, found)
    if missing:
        stop = threading.Event()
        with store.session(stop.is_set) as session:
            layers = _Assembly(session, locator, reporter, stop).run(
                list(missing.values()), jobs or os.cpu_count() or 1
            )
            for image in missing.values():
                done[image.hash] = _image(session, image, layers, started)
    _name(store, images, done)
    return [replace(done[i.hash], environment=i.environment, platform=i.platform) for i in images]


def _name(store: Store, images: Sequence[ImageDerivation], done: Mapping[str, BuiltImage]) -> None:
    """Name the images in the index and note their use; nothing is written where the index already says so."""
    named = layout.manifests(store.index())
    unnamed = []
    for image in images:
        store.touch(image.hash)
        made = store.image(image.hash)
        if made is not None and _entry(image, made) not in named:
            unnamed.append((image, made))
    if unnamed:
        with store.session() as session:
            for image, made in unnamed:
                session.tag(image, made)


def _entry(image: ImageDerivation, made: ImageRealisation) -> layout.Document:
    return layout.descriptor(made.manifest, made.size, image.environment, image.platform, image.hash)


def _reused(store: Store, image: ImageDerivation, made: ImageRealisation) -> BuiltImage:
    manifest = store.manifest(made.manifest) or {}
    config = store.manifest(manifest["config"]["digest"]) or {}
    diff_ids = config.get("rootfs", {}).get("diff_ids", [])
    layers = []
    for layer, blob, diff_id in zip(image.layers, manifest["layers"], diff_ids, strict=True):
        layers.append(BuiltLayer(layer.title, layer.hash, blob["digest"], blob["size"], diff_id, True))
    size = made.size + sum(size for _, size in layout.references(manifest))
    return BuiltImage(image.environment, image.platform, image.hash, made.manifest, size, tuple(layers), 0.0, True)


def _image(
    session: Session, image: ImageDerivation, layers: Mapping[str, tuple[LayerResult, bool]], started: float
) -> BuiltImage:
    """Write the image's configuration and manifest; its layers are in the store."""
    results = [layers[layer.hash][0] for layer in image.layers]
    try:
        check_image(image.spec, results)
    except AssembleError as e:
        raise _artifact_error(e, image.environment) from None
    config = image_config(image.spec, results)
    manifest = image_manifest(image.spec, config, results)
    session.put_blob(config)
    digest = session.put_blob(manifest)
    session.put_image(image, ImageRealisation(digest, len(manifest)))
    built = tuple(
        BuiltLayer(layer.title, layer.hash, r.digest, r.size, r.diff_id, layers[layer.hash][1])
        for layer, r in zip(image.layers, results, strict=True)
    )
    size = len(config) + len(manifest) + sum(r.size for r in results)
    seconds = time.monotonic() - started
    return BuiltImage(image.environment, image.platform, image.hash, digest, size, built, seconds, False)


class _Assembly:
    """Makes the layers that the store lacks: downloads and assembly in threads, decisions in the caller's."""

    def __init__(self, session: Session, locator: Locator, reporter: Reporter, stop: threading.Event) -> None:
        self._session = session
        self._store = session.store
        self._locator = locator
        self._reporter = reporter
        self._stop = stop

    def run(self, images: Sequence[ImageDerivation], jobs: int) -> dict[str, tuple[LayerResult, bool]]:
        """Every layer of ``images`` by its derivation: what it is, and whether the store had it."""
        wanted = {layer.hash: layer for image in images for layer in image.layers}
        layers: dict[str, tuple[LayerResult, bool]] = {}
        todo: list[LayerDerivation] = []
        for derivation, layer in wanted.items():
            found = self._stored(derivation)
            if found is None:
                todo.append(layer)
            else:
                layers[derivation] = found, True
        if todo:
            # The largest first: they decide when the last one is done.
            made = self._make(sorted(todo, key=lambda x: -x.fetch_size), jobs)
            layers |= {derivation: (result, False) for derivation, result in made.items()}
        return layers

    def _make(self, todo: Sequence[LayerDerivation], jobs: int) -> dict[str, LayerResult]:
        needed = {a.sha256: a for layer in todo for a in layer.artifacts}
        missing = {sha: a for sha, a in needed.items() if self._store.artifact(sha, a.size) is None}
        with ExitStack() as stack:
            pool = ThreadPoolExecutor(jobs, thread_name_prefix="assemble")
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            stack.callback(self._stop.set)
            fetcher: Fetcher | None = None
            if missing:
                total = sum(a.size for a in missing.values())
                bar = stack.enter_context(self._reporter.work("fetch", total, unit="bytes"))
                fetcher = stack.enter_context(
                    Fetcher(self._session, self._locator, bar.advance, self._stop, _CONNECTIONS)
                )
            progress = stack.enter_context(self._reporter.work("assemble", len(todo), unit="items"))
            return self._pipeline(todo, missing, fetcher, pool, progress)

    def _pipeline(
        self,
        todo: Sequence[LayerDerivation],
        missing: Mapping[str, Artifact],
        fetcher: Fetcher | None,
        pool: ThreadPoolExecutor,
        progress: Progress,
    ) -> dict[str, LayerResult]:
        """Each layer is assembled when its last artifact arrives. What fails first is raised, the rest called off."""
        events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        lacking = {layer.hash: {a.sha256 for a in layer.artifacts if a.sha256 in missing} for layer in todo}
        users: dict[str, list[LayerDerivation]] = {}
        made: dict[str, LayerResult] = {}

        def assemble(layer: LayerDerivation) -> None:
            future = pool.submit(self._assemble, layer)
            future.add_done_callback(lambda f: events.put(lambda: finished(layer, f)))

        def finished(layer: LayerDerivation, future: Future[LayerResult]) -> None:
            made[layer.hash] = future.result()
            progress.advance()

        def arrived(sha256: str, future: Future[Path]) -> None:
            future.result()
            for layer in users[sha256]:
                lacking[layer.hash].discard(sha256)
                if not lacking[layer.hash]:
                    assemble(layer)

        def landed(sha256: str, future: Future[Path]) -> None:
            events.put(lambda: arrived(sha256, future))

        for layer in todo:
            for sha256 in lacking[layer.hash]:
                users.setdefault(sha256, []).append(layer)
            if not lacking[layer.hash]:
                assemble(layer)
        for artifact in missing.values():
            assert fetcher is not None
            fetching = fetcher.submit(artifact)
            fetching.add_done_callback(partial(landed, artifact.sha256))
        while len(made) < len(todo):
            events.get()()
        return made

    def _assemble(self, layer: LayerDerivation) -> LayerResult:
        def waits() -> None:
            self._reporter.note(f"waiting for another build, which makes `{layer.title}`")

        try:
            with self._session.making(layer.hash, waits):
                # The other build, if there was one, has made it by now.
                found = self._stored(layer.hash)
                return found if found is not None else self._write(layer)
        except Busy:
            raise Cancelled from None

    def _write(self, layer: LayerDerivation) -> LayerResult:
        blob, scratch = self._session.temporary("layer"), self._session.temporary("scratch")
        with storing(blob):
            scratch.mkdir()
            try:
                with open(blob, "xb") as out:
                    result = write_layer(
                        layer.spec,
                        lambda sha256: str(self._store.artifact_path(sha256)),
                        out,
                        scratch=str(scratch),
                        inflate=cast(Inflate, isal_zlib),
                        progress=self._check,
                    )
            except AssembleError as e:
                raise _artifact_error(e, layer.title) from None
            shutil.rmtree(scratch)
        for warning in result.warnings:
            self._reporter.warn(warning)
        made = LayerRealisation(result.digest, result.size, result.diff_id, result.diff_size)
        self._session.put_layer(layer.hash, made, result.listing, blob)
        return result

    def _check(self, _: int) -> None:
        if self._stop.is_set():
            raise Cancelled

    def _stored(self, derivation: str) -> LayerResult | None:
        found = self._store.layer(derivation)
        if found is None:
            return None
        listing = dict(self._store.listing(derivation))
        return LayerResult(found.digest, found.size, found.diff_id, found.diff_size, listing)


def _artifact_error(e: AssembleError, where: str) -> ArtifactError:
    return ArtifactError(
        f"{where}: {e}",
        hint="the bytes are those that were locked, so the fault is in them: lock another version, or leave it out",
    )
