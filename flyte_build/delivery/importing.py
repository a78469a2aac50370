"""What a bundle says that derivations became: checked, made again on request, and then made this store's own.

Never reads the bundle itself: its bytes are in the store by now, under their hashes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..assemble.base import copy_base
from ..assemble.errors import AssembleError
from ..deriving.derivation import Artifact, ImageDerivation, LayerDerivation
from ..kernel.errors import ArtifactError, InputError, PinError
from ..kernel.reporting import Reporter
from ..locks.nouns import Lock
from ..remote.cache_entries import KnownImage, KnownLayer, Unbelievable, read_image
from ..remote.listing import read_listing
from ..store import ImageRealisation, LayerRealisation, Session, Store, layout
from ..store.contents import Contents
from ..store.files import share, storing
from .format import BundledImage

if TYPE_CHECKING:
    from ..sources.places import Place

__all__ = ["Claim", "claim", "rebuild", "take_in"]


@dataclass(frozen=True, slots=True)
class Claim:
    """That ``derivation`` became ``known``."""

    image: BundledImage
    derivation: ImageDerivation
    known: KnownImage


def claim(store: Contents, bundle: Path, image: BundledImage, derivation: ImageDerivation, lock: Lock) -> Claim:
    """What ``bundle`` says of ``image``, as far as it can be checked without making it again.

    Raises :class:`ArtifactError` where the image is not whole, or not made of what its derivation says, and
    :class:`PinError` where the lock that came with it or this store knows another image of this derivation.
    """
    where = f"{bundle}: {image.environment} on {image.platform}"
    assert image.manifest is not None
    documents = [_document(store, where, image.manifest)]
    config = (layout.parse(documents[0]) or {}).get("config")
    if not isinstance(config, dict) or not isinstance(config.get("digest"), str):
        raise _wrong(where, f"expected a manifest in {image.manifest}, found something else")
    documents.append(_document(store, where, config["digest"]))
    try:
        known = read_image(derivation, "", *documents)
    except Unbelievable as e:
        raise _wrong(where, str(e)) from None
    for layer in known.layers:
        if store.blob(layer.digest, layer.size) is None:
            raise _wrong(where, f"the layer {layer.digest} of {layer.size} bytes is not in it")
    pin = lock.pins.get(image.platform)
    here = store.image(image.derivation)
    others = (("its lock pins", pin.digest if pin and pin.derivation == image.derivation else None),)
    for what, other in (*others, ("this store has", here.manifest if here else None)):
        if other is not None and other != image.manifest:
            raise PinError(
                f"{where}: expected the image that {what}:\n  {what} {other}\n  the bundle has {image.manifest}",
                hint="one derivation has one image: `flyte-build verify` tells which it is",
            )
    return Claim(image, derivation, known)


def _document(store: Contents, where: str, digest: str) -> bytes:
    try:
        data = store.document(digest)
    except ValueError as e:
        raise _wrong(where, str(e)) from None
    if data is None:
        raise _wrong(where, f"the blob {digest} is not in it")
    return data


def take_in(session: Session, claims: Sequence[Claim], reporter: Reporter) -> None:
    """Realise and name the images. Raises :class:`ArtifactError` for a layer whose bytes are not what is said."""
    store = session.store
    layers: dict[str, tuple[LayerDerivation, KnownLayer]] = {}
    for one in claims:
        for layer, known in zip(one.derivation.layers, one.known.layers, strict=True):
            if store.layer(layer.hash) is None:
                layers[layer.hash] = layer, known
    read = []
    with reporter.work("check layers", sum(known.size for _, known in layers.values()), unit="bytes") as progress:
        for layer, known in layers.values():
            read.append((layer, *_read_layer(store, layer, known)))
            progress.advance(known.size)
    for layer, made, listing in read:
        temporary = session.temporary("layer")
        with storing(temporary):
            share(store.blob_path(made.digest), temporary)
        session.put_layer(layer.hash, made, listing, temporary)
    for one in claims:
        image = ImageRealisation(one.known.digest, len(one.known.manifest))
        session.put_image(one.derivation, image)
        session.tag(one.derivation, image)
        store.touch(one.derivation.hash)


def _read_layer(store: Contents, layer: LayerDerivation, known: KnownLayer) -> tuple[LayerRealisation, dict[str, str]]:
    """What the layer's own bytes say of it. Of one that nobody makes it is that it is the one."""
    blob = store.blob_path(known.digest)
    with storing(blob):
        try:
            if layer.kind in ("base", "sealed"):
                with open(blob, "rb") as source, open(os.devnull, "wb") as out:
                    found = copy_base(layer.spec, source, out)
                return LayerRealisation(found.digest, found.size, found.diff_id, found.diff_size), {}
            diff_id, diff_size, listing = read_listing(blob)
        except (Unbelievable, AssembleError) as e:
            raise ArtifactError(f"{known.digest} (`{layer.title}`): {e}") from None
    if diff_id != known.diff_id:
        raise ArtifactError(f"{known.digest} (`{layer.title}`): expected the diff_id {known.diff_id}, found {diff_id}")
    return LayerRealisation(known.digest, known.size, diff_id, diff_size), listing


# -- making it again ---------------------------------------------------------------------------------


class _Nowhere:
    """No place has an artifact: what the store lacks is not to be had."""

    def places(self, artifact: Artifact) -> Iterator[Place]:
        return iter(())

    def close(self) -> None:
        return None


def rebuild(session: Session, claims: Sequence[Claim], reporter: Reporter) -> None:
    """Make the images from the artifacts in the store, in a store of their own, and compare.

    Raises :class:`InputError` where artifacts are not here, and :class:`PinError` for the first image, and in it the
    first layer, that comes out otherwise.
    """
    from ..building.building import build

    scratch = Store(session.temporary("verify"))
    try:
        with scratch.session():
            images = [_furnished(session.store, scratch, one) for one in claims]
        built = build(images, scratch, locator=_Nowhere(), reporter=reporter)
    finally:
        shutil.rmtree(scratch.root, ignore_errors=True)
    for one, made in zip(claims, built, strict=True):
        if made.manifest_digest == one.known.digest:
            continue
        pairs = zip(made.layers, one.known.layers, strict=True)
        differing = next(((a.title, a.digest, b.digest) for a, b in pairs if a.digest != b.digest), None)
        what = f"{one.image.environment}: layer `{differing[0]}`" if differing else one.image.environment
        made_digest, said = differing[1:] if differing else (made.manifest_digest, one.known.digest)
        raise PinError(
            f"{what}: the bundle's image is not what its artifacts make:\n  expected {made_digest}\n  found    {said}",
            hint="do not use this bundle's images: have one made with --no-images, and build here",
        )


def _furnished(store: Contents, scratch: Store, one: Claim) -> ImageDerivation:
    """The derivation with its artifacts' sizes, after ``scratch`` has got them, and what no artifact makes."""
    layers = []
    for layer, known in zip(one.derivation.layers, one.known.layers, strict=True):
        artifacts = []
        for artifact in layer.artifacts:
            path = store.sound(artifact.sha256, name=artifact.file)
            if path is None:
                raise InputError(
                    f"{one.image.environment}: cannot be verified: {artifact.file} is neither in the bundle nor here",
                    hint="have the bundle made without --no-artifacts",
                )
            _share(path, scratch.artifact_path(artifact.sha256))
            artifacts.append(replace(artifact, size=path.stat().st_size))
        if layer.kind == "base":
            _share(store.blob_path(known.digest), scratch.blob_path(known.digest))
        layers.append(LayerDerivation(layer.spec, tuple(artifacts)))
    if "verbatim" in one.derivation.spec:
        for data in (one.known.manifest, one.known.config):
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            _share(store.blob_path(digest), scratch.blob_path(digest))
    return replace(one.derivation, layers=tuple(layers))


def _share(source: Path, target: Path) -> None:
    if not target.exists():
        with storing(target):
            share(source, target)


def _wrong(where: str, message: str) -> ArtifactError:
    return ArtifactError(f"{where}: {message}", hint="have the bundle made and sent again")
