"""Executes a plan: what is realised is reused, the rest is assembled, and every image gets its name.

Everything made is in the store before anything refers to it, so whatever stops a build, the next one goes on from
there. A build with nothing to do reads a few small files and loads neither the assembler nor an HTTP client. Never
resolves, never decides what to build, never prints.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .derivation import ImageDerivation
from .locators import Locator
from .reporting import Reporter
from .store import ImageRealisation, Session, Store, layout

if TYPE_CHECKING:
    from .assemble.layer import LayerResult

__all__ = ["BuiltImage", "BuiltLayer", "build"]


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
            known = _reused(store, image, found) if found is not None else None
            if known is None:
                missing[image.hash] = image
            else:
                done[image.hash] = known
    if missing:
        from .assembly import Assembly

        stop = threading.Event()
        with store.session(stop.is_set) as session:
            assembly = Assembly(session, locator, reporter, stop)
            layers = assembly.run(list(missing.values()), jobs or os.cpu_count() or 1)
            for image in missing.values():
                done[image.hash] = _image(session, image, layers, started)
    _name(store, images)
    return [replace(done[i.hash], environment=i.environment, platform=i.platform) for i in images]


def _name(store: Store, images: Sequence[ImageDerivation]) -> None:
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


def _reused(store: Store, image: ImageDerivation, made: ImageRealisation) -> BuiltImage | None:
    """The image as the store has it; ``None`` where manifest or configuration are not what they were."""
    try:
        manifest = store.manifest(made.manifest) or {}
        config = store.manifest(manifest["config"]["digest"]) or {}
        rows = zip(image.layers, manifest["layers"], config["rootfs"]["diff_ids"], strict=True)
        layers = tuple(
            BuiltLayer(layer.title, layer.hash, blob["digest"], blob["size"], diff_id, True)
            for layer, blob, diff_id in rows
        )
    except (KeyError, TypeError, ValueError):
        return None
    size = made.size + sum(size for _, size in layout.references(manifest))
    return BuiltImage(image.environment, image.platform, image.hash, made.manifest, size, layers, 0.0, True)


def _image(
    session: Session, image: ImageDerivation, layers: Mapping[str, tuple[LayerResult, bool]], started: float
) -> BuiltImage:
    """Write the image's configuration and manifest; its layers are in the store."""
    from .assemble.errors import AssembleError
    from .assemble.image import check_image, image_config, image_manifest
    from .assembly import artifact_error

    results = [layers[layer.hash][0] for layer in image.layers]
    try:
        check_image(image.spec, results)
    except AssembleError as e:
        raise artifact_error(e, image.environment) from None
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
