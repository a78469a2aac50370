"""Executes a plan: what is realised is reused, the rest is assembled, and every image gets its name.

Everything made is in the store before anything refers to it, so whatever stops a build, the next one goes on from
there. A build with nothing to do reads a few small files and loads neither the assembler nor an HTTP client. What a
shared cache knows is pulled instead of made, or only referred to where nobody needs it here. Never resolves, never
decides what to build, never prints.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..deriving.derivation import ImageDerivation
from ..kernel.errors import ArtifactError
from ..kernel.reporting import Reporter
from ..kernel.values import replace
from ..store import ImageRealisation, Session, Store, layout
from ..store.built import BuiltImage, BuiltLayer

if TYPE_CHECKING:
    from ..assemble.layer import LayerResult
    from ..remote.available import Elsewhere
    from ..remote.cache import RemoteCache
    from ..sources.places import Locator
    from .bytecode import Hosts

__all__ = ["build"]


def build(
    images: Sequence[ImageDerivation],
    store: Store,
    *,
    locator: Locator,
    reporter: Reporter,
    jobs: int | None = None,
    remote: RemoteCache | None = None,
    bases: Mapping[str, str] | None = None,
    local: bool = True,
    hosts: Hosts | None = None,
) -> list[BuiltImage]:
    """Realise all ``images`` in ``store``; the result is in their order.

    ``jobs``: layers assembled at a time (default: the processors). ``remote`` is asked for what the store lacks, and
    ``bases`` says where the layers of kind ``base`` lie: derivation → ``host/repository``. With ``local`` all these
    are pulled; without, images are composed of them without their bytes. ``hosts``: who compiles modules for other
    platforms. Nothing is fetched for what either of
    them has. Raises :class:`FetchError`, :class:`ArtifactError` and
    :class:`StoreError`; what was finished by then stays.
    """
    started = time.monotonic()
    done: dict[str, BuiltImage] = {}
    missing: dict[str, ImageDerivation] = {}
    with store.reading():
        for image in images:
            found = store.image(image.hash)
            known = _reused(store, image, found) if found is not None else None
            if known is None:
                missing[image.hash] = image
            else:
                done[image.hash] = known
    if missing:
        done |= _make(
            list(missing.values()), store, locator, reporter, jobs, remote, bases or {}, local, hosts, started
        )
    elif store.unswept():
        with store.session():
            pass
    _name(store, images)
    return [replace(done[i.hash], environment=i.environment, platform=i.platform) for i in images]


def _make(
    missing: Sequence[ImageDerivation],
    store: Store,
    locator: Locator,
    reporter: Reporter,
    jobs: int | None,
    remote: RemoteCache | None,
    bases: Mapping[str, str],
    local: bool,
    hosts: Hosts | None,
    started: float,
) -> dict[str, BuiltImage]:
    done: dict[str, BuiltImage] = {}
    stop = threading.Event()
    with store.session(stop.is_set) as session, ExitStack() as stack:
        ahead = None
        if local and (remote is None or not remote.repositories):
            from .ahead import Ahead

            ahead = Ahead(session, missing)
            stack.callback(ahead.close)
        from ..assemble import image as _  # noqa: F401 - while the core works
        from ..remote.available import Elsewhere
        from .assembly import Assembly, at_once

        elsewhere = Elsewhere(session, remote, bases, reporter, stop)
        if not local:
            done |= {image.hash: _known(session, image, elsewhere, started) for image in elsewhere.images(missing)}
        todo = [image for image in missing if image.hash not in done]
        while todo:
            known = elsewhere.pulled(todo) if local else elsewhere.composable(todo)
            layers = Assembly(session, locator, reporter, stop, hosts, ahead).run(todo, at_once(jobs), known)
            stop.clear()  # its threads have ended by it; what comes now may wait for other builds
            again = []
            for image in todo:
                try:
                    done[image.hash] = _image(session, image, layers, elsewhere, started, reporter)
                except ArtifactError:
                    # A listing that somebody else wrote accuses nobody: what it is about is looked at first.
                    if not elsewhere.doubt(image):
                        raise
                    again.append(image)
            todo = again
        for image in missing:
            _tag(session, image)
    return done


def _tag(session: Session, image: ImageDerivation) -> None:
    made = session.store.image(image.hash)
    if made is not None:
        session.tag(image, made)


def _name(store: Store, images: Sequence[ImageDerivation]) -> None:
    """Name the images in the index and note their use; nothing is written where the index already says so."""
    named = layout.manifests(store.index())
    unnamed = []
    for image in images:
        store.touch(image.hash)
        made = store.image(image.hash)
        if made is not None and layout.entry(image, made) not in named:
            unnamed.append(image)
    if unnamed:
        with store.session() as session:
            for image in unnamed:
                _tag(session, image)


def _reused(store: Store, image: ImageDerivation, made: ImageRealisation) -> BuiltImage | None:
    """The image as the store has it; ``None`` where manifest or configuration are not what they were."""
    try:
        manifest = store.manifest(made.manifest) or {}
        config = store.manifest(manifest["config"]["digest"]) or {}
        rows = zip(image.layers, manifest["layers"], config["rootfs"]["diff_ids"], strict=True)
        layers = tuple(
            BuiltLayer(layer.title, layer.hash, blob["digest"], blob["size"], diff_id, True, kind=layer.kind)
            for layer, blob, diff_id in rows
        )
        size = made.size + sum(size for _, size in layout.references(manifest))
    except (KeyError, TypeError, ValueError):
        return None
    return BuiltImage(image.environment, image.platform, image.hash, made.manifest, size, layers, 0.0, True)


def _known(session: Session, image: ImageDerivation, elsewhere: Elsewhere, started: float) -> BuiltImage:
    """The image as a cache knows it: its documents come into the store, its layers stay where they are."""
    known = elsewhere.documents(image)
    layers = []
    for layer, k in zip(image.layers, known.layers, strict=True):
        source = elsewhere.source(layer, k.digest, k.size)
        layers.append(BuiltLayer(layer.title, layer.hash, k.digest, k.size, k.diff_id, True, source, kind=layer.kind))
    local = all(layer.source is None for layer in layers)
    if local:
        session.put_image(image, ImageRealisation(known.digest, len(known.manifest)))
    size = len(known.config) + len(known.manifest) + sum(k.size for k in known.layers)
    seconds = time.monotonic() - started
    return BuiltImage(
        image.environment, image.platform, image.hash, known.digest, size, tuple(layers), seconds, True, local
    )


def _image(
    session: Session,
    image: ImageDerivation,
    layers: Mapping[str, tuple[LayerResult, bool]],
    elsewhere: Elsewhere,
    started: float,
    reporter: Reporter,
) -> BuiltImage:
    """Write the image's configuration and manifest; its layers are in the store, or known to be elsewhere."""
    from ..assemble.errors import AssembleError
    from ..assemble.image import check_image, image_config, image_manifest
    from .writing import artifact_error

    results = [layers[layer.hash][0] for layer in image.layers]
    try:
        for overlap in check_image(image.spec, results):
            reporter.warn(f"{image.environment}: {overlap}")
    except AssembleError as e:
        raise artifact_error(e, image.environment) from None
    if "verbatim" in image.spec:
        config, manifest = elsewhere.verbatim(image)
    else:
        config = image_config(image.spec, results)
        manifest = image_manifest(image.spec, config, results)
    session.put_blob(config)
    digest = session.put_blob(manifest)
    built = tuple(
        BuiltLayer(
            layer.title,
            layer.hash,
            r.digest,
            r.size,
            r.diff_id,
            layers[layer.hash][1] and layer.hash not in elsewhere.brought,
            elsewhere.source(layer, r.digest, r.size),
            layer.hash in elsewhere.brought,
            layer.kind,
        )
        for layer, r in zip(image.layers, results, strict=True)
    )
    local = all(layer.source is None for layer in built)
    if local:
        session.put_image(image, ImageRealisation(digest, len(manifest)))
    size = len(config) + len(manifest) + sum(r.size for r in results)
    seconds = time.monotonic() - started
    return BuiltImage(image.environment, image.platform, image.hash, digest, size, built, seconds, False, local)
