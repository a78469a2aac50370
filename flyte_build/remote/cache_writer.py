"""What was pushed, written to the shared cache: layers first, then the image that is made of them.

Only the first of the configured repositories is written to, and none where the settings say so. What it has already
is left alone, unless it was found to be wrong. A cache that cannot be written makes the next machine slower, so it is a
warning and never a failed push.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..kernel.errors import RegistryError, StoreError
from ..kernel.reporting import Reporter
from ..store import LayerRealisation, Store
from .blobs import Blob, Mover
from .cache import RemoteCache
from .cache_entries import EMPTY, MANIFEST_TYPE, image_tag, layer_manifest, layer_tag, media_type, pack_listing
from .threads import each

if TYPE_CHECKING:
    from ..store.built import BuiltImage, BuiltLayer

__all__ = ["deposit"]


def deposit(images: Sequence[BuiltImage], store: Store, cache: RemoteCache, mover: Mover, reporter: Reporter) -> None:
    """Let the cache know what ``images`` are, and their layers. ``mover`` knows where the blobs lie by now."""
    if not cache.writable or not cache.repositories or not cache.reachable(cache.repositories[0]):
        return
    work = _Deposit(store, cache, mover)
    try:
        new = work.unknown(list({i.derivation: i for i in images}.values()))
        added = work.layers(list({x.derivation: x for image in new for x in image.layers}.values()))
        each(work.image, new, mover.stop)
    except RegistryError as e:
        reporter.warn(f"the cache {cache.repositories[0]} was not written: {e.message}")
        return
    if new:
        plural = "" if len(new) == 1 else "s"
        reporter.note(f"cached in {cache.repositories[0]}: {len(new)} image{plural}, {added} new layers")


class _Deposit:
    def __init__(self, store: Store, cache: RemoteCache, mover: Mover) -> None:
        self._store, self._cache, self._mover = store, cache, mover
        self._registry = mover.registry
        self._place = cache.repositories[0]

    def unknown(self, images: Sequence[BuiltImage]) -> list[BuiltImage]:
        """Those of ``images`` that the cache does not know, or not as they are."""

        def known(image: BuiltImage) -> bool:
            if self._cache.knows(image.derivation, self._place):
                return True
            wrong = any(self._cache.distrusted(layer.derivation, str(self._place)) for layer in image.layers)
            found = None if wrong else self._registry.head(self._place.with_tag(image_tag(image.derivation)))
            return found is not None and found.digest == image.manifest_digest

        answers = each(known, images, self._mover.stop)
        return [image for image, there in zip(images, answers, strict=True) if not there]

    def layers(self, layers: Sequence[BuiltLayer]) -> int:
        """Bring these layers' blobs to the cache, then the realisations of those that it does not know: how many.

        One after the other, as some registries lose sight of a blob for a moment when it comes a second time.
        """

        def known(layer: BuiltLayer) -> bool:
            found = self._registry.head(self._place.with_tag(layer_tag(layer.derivation)))
            return found is not None and not self._cache.distrusted(layer.derivation, str(self._place))

        answers = each(known, layers, self._mover.stop)
        new = [layer for layer, there in zip(layers, answers, strict=True) if not there]
        each(self._blob, list({layer.digest: layer for layer in new}.values()), self._mover.stop)
        told = {x.derivation: t for x in new if x.kind != "base" and (t := self._told(x)) is not None}
        if told:
            each(self.small, list({EMPTY, *(listing for _, listing in told.values())}), self._mover.stop)

        def realise(derivation: str) -> None:
            manifest = layer_manifest(derivation, *told[derivation])
            self._registry.put_manifest(self._place.with_tag(layer_tag(derivation)), manifest, MANIFEST_TYPE)

        each(realise, list(told), self._mover.stop)
        return len(told)

    def _blob(self, layer: BuiltLayer) -> None:
        path = self._store.blob(layer.digest, layer.size)
        self._mover.move(Blob(layer.digest, layer.size, path, layer.source), [self._place])

    def _told(self, layer: BuiltLayer) -> tuple[LayerRealisation, bytes] | None:
        """What is known here of a layer: made here, or told by another cache with its listing; else nothing."""
        made = self._store.layer(layer.derivation)
        if made is not None:
            return made, pack_listing(self._store.listing(layer.derivation))
        known = self._cache.told(layer.derivation)
        if known is None:
            return None
        found, listing = known
        return LayerRealisation(found.digest, found.size, found.diff_id, found.diff_size), pack_listing(listing)

    def image(self, image: BuiltImage) -> None:
        """The image's own manifest under its derivation. Its layers are here by now."""
        manifest = self._store.document(image.manifest_digest)
        said = self._store.manifest(image.manifest_digest) or {}
        config = self._store.document(said["config"]["digest"]) if said else None
        if manifest is None or config is None:
            raise StoreError(
                f"{image.environment}: its manifest or configuration is not in the store any more, or damaged there",
                hint="run this again: the image is made again",
            )
        self.small(config)
        self._registry.put_manifest(self._place.with_tag(image_tag(image.derivation)), manifest, media_type(manifest))

    def small(self, data: bytes) -> None:
        """Bring a blob to the cache that is made here."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()

        def opened(offset: int) -> io.BytesIO:
            return io.BytesIO(data[offset:])

        self._registry.push_blob(self._place, digest, len(data), opened)
