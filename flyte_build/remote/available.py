"""What a build need not make, because it lies in a registry: whole images, layers, and the layers of bases.

Joins the shared cache with one build's session: pulls what has to be here, and stands for what may stay where it is.
Never assembles, never decides what is built.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..assemble.results import LayerResult
from ..deriving.derivation import ImageDerivation, LayerDerivation
from ..kernel.errors import FetchError, RegistryError
from ..kernel.reporting import Reporter
from ..store import Session

if TYPE_CHECKING:
    from ..registry.client import Registry
    from .cache import RemoteCache
    from .cache_entries import KnownImage, KnownLayer

__all__ = ["Elsewhere"]


class Elsewhere:
    """``remote`` (``None``: nobody is asked) as one build sees it, and ``bases``: layer derivation → repository.

    ``brought``: layers pulled by it.
    """

    def __init__(
        self,
        session: Session,
        remote: RemoteCache | None,
        bases: Mapping[str, str],
        reporter: Reporter,
        stop: threading.Event,
    ) -> None:
        self._session, self._store = session, session.store
        self._remote = remote
        # A mirror's name where one is configured: locks and derivations keep the image's own.
        self._bases = _located(bases) if bases else {}
        self._reporter = reporter
        self._stop = stop
        self._images: dict[str, KnownImage] = {}
        self._places: dict[str, str] = {}
        self.brought: set[str] = set()

    def images(self, wanted: Sequence[ImageDerivation]) -> list[ImageDerivation]:
        """Those of ``wanted`` that the cache knows whole."""
        if self._remote is not None:
            self._images |= self._remote.images(wanted)
        return [image for image in wanted if image.hash in self._images]

    def documents(self, image: ImageDerivation) -> KnownImage:
        """A known image, its configuration and manifest put into the store."""
        known = self._images[image.hash]
        for data in (known.config, known.manifest):
            self._session.put_blob(data)
        for layer, there in zip(image.layers, known.layers, strict=True):
            self._places.setdefault(layer.hash, there.repository)
        return known

    def pulled(self, images: Sequence[ImageDerivation]) -> dict[str, LayerResult]:
        """Bring every layer of ``images`` that lies elsewhere into the store; those that nobody makes, as they are."""
        lacking = self._lacking(images)
        bases = {layer.hash: layer for layer in lacking if layer.kind == "base"}
        away = {d: (x, self._base(x)) for d, x in bases.items() if self._blob(x) is None}
        if away:
            from .pull import pull_bases

            self.brought |= pull_bases(self._session, self._patient(), away, self._reporter, self._stop)
        if self._remote is not None:
            from .pull import pull_layers

            known: dict[str, KnownLayer] = {}
            for image in self.images(images):
                known |= {x.hash: k for x, k in zip(image.layers, self._images[image.hash].layers, strict=True)}
            rest = [layer for layer in lacking if layer.kind != "base"]
            known |= self._remote.layers([layer for layer in rest if layer.hash not in known])
            wanted = {layer.hash: known[layer.hash] for layer in rest if layer.hash in known}
            self.brought |= pull_layers(self._session, self._remote, wanted, self._reporter, self._stop)
        return {derivation: _told(layer) for derivation, layer in bases.items()}

    def composable(self, images: Sequence[ImageDerivation]) -> dict[str, LayerResult]:
        """Every layer of ``images`` that the store lacks and a registry has, with what it holds."""
        lacking = self._lacking(images)
        found = {}
        for layer in lacking:
            if layer.kind == "base":
                found[layer.hash] = _told(layer)
                if self._blob(layer) is None:
                    self._places[layer.hash] = self._base(layer)
        if self._remote is not None:
            known = self._remote.layers([layer for layer in lacking if layer.kind != "base"])
            for derivation, listing in self._remote.listings(known).items():
                k = known[derivation]
                self._places[derivation] = k.repository
                found[derivation] = LayerResult(k.digest, k.size, k.diff_id, k.diff_size, listing)
        return found

    def verbatim(self, image: ImageDerivation) -> tuple[bytes, bytes]:
        """Configuration and manifest of an image that is its base, as they are. Raises :class:`RegistryError`."""
        said = cast("Mapping[str, Mapping[str, Any]]", image.spec["verbatim"])
        found = []
        for kind in ("config", "manifest"):
            digest, size = said[kind]["digest"], said[kind]["size"]
            data = self._store.document(digest)
            if data is None and (path := self._store.sound(digest.removeprefix("sha256:"), size)) is not None:
                data = path.read_bytes()
            if data is not None and len(data) == size:
                found.append(data)
                continue
            from ..registry.reference import Reference

            place = Reference.parse(self._base(image.layers[0]))
            if kind == "config":
                found.append(self._patient().read_blob(place, digest, size))
                continue
            manifest = self._patient().manifest(place.with_digest(digest))
            if manifest is None:
                raise RegistryError(
                    f"{place} does not have {digest} any more",
                    hint="lock the base again (`flyte-build lock --upgrade`)",
                )
            found.append(manifest.data)
        return found[0], found[1]

    def _base(self, layer: LayerDerivation) -> str:
        """Where a layer of kind ``base`` lies."""
        if layer.hash not in self._bases:
            raise FetchError(
                f"the base's layer {layer.spec['digest']} is not here, and no registry is known to have it",
                hint="build with its lock, which names the registry",
            )
        return self._bases[layer.hash]

    def _blob(self, layer: LayerDerivation) -> Path | None:
        return self._store.blob(str(layer.spec["digest"]), cast(int, layer.spec["size"]))

    def _patient(self) -> Registry:
        if self._remote is None:
            raise FetchError("the base's layers are not here, and no registry may be asked")
        return self._remote.registry(patient=True)

    def source(self, layer: LayerDerivation, digest: str, size: int) -> str | None:
        """The repository that has the layer's blob; ``None`` where the store has it."""
        return None if self._store.blob(digest, size) is not None else self._places.get(layer.hash)

    def doubt(self, image: ImageDerivation) -> bool:
        """Believe no cache about this image's layers any more; whether one was believed."""
        believed = [
            x for x in image.layers if x.kind != "base" and self._store.layer(x.hash) is None and x.hash in self._places
        ]
        for layer in believed:
            assert self._remote is not None
            repository = self._places.pop(layer.hash)
            self._remote.distrust(layer.hash, repository, f"`{layer.title}` would conflict with another layer")
        return bool(believed)

    def _lacking(self, images: Sequence[ImageDerivation]) -> list[LayerDerivation]:
        wanted = {layer.hash: layer for image in images for layer in image.layers}
        return [layer for derivation, layer in wanted.items() if self._store.layer(derivation) is None]


# A build that asks nobody anything, and has no base, pays for none of these.


def _located(bases: Mapping[str, str]) -> dict[str, str]:
    from ..sources.registry_mirrors import located_name

    return {derivation: located_name(repository) for derivation, repository in bases.items()}


def _told(layer: LayerDerivation) -> LayerResult:
    from ..assemble.base import base_result

    return base_result(layer.spec)
