"""The shared cache, asked: which images and layers a configured repository knows.

Only repositories that a person configured are asked, many questions at a time, each once. What they say is judged by
``entries``; what does not hold is warned about and counts as unknown, as does all of a repository that cannot be
reached. Never downloads a layer, never writes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from ..deriving.derivation import ImageDerivation, LayerDerivation
from ..kernel import tracing
from ..kernel.errors import RegistryError
from ..kernel.reporting import Reporter
from .cache_entries import (
    MAX_LISTING,
    KnownImage,
    KnownLayer,
    Unbelievable,
    image_tag,
    layer_tag,
    read_image,
    read_layer,
    unpack_listing,
)
from .threads import each

if TYPE_CHECKING:
    from ..registry.client import Registry
    from ..registry.reference import Reference

__all__ = ["RemoteCache"]

# A configuration of a hundred layers has some fifty kilobytes.
_MAX_CONFIG = 4 << 20

K = TypeVar("K", KnownImage, KnownLayer)
W = TypeVar("W")


class RemoteCache:
    """The ``repositories``, the first one first; pushes write to it where the cache is ``writable``.

    ``connect(patient)`` opens a client when it is needed.

    Safe to use from several threads. Answers are kept for the life of this object, so that a plan and the build after
    it ask once.
    """

    def __init__(
        self,
        connect: Callable[[bool], Registry],
        repositories: Sequence[Reference],
        reporter: Reporter,
        *,
        writable: bool = True,
    ) -> None:
        self.repositories = tuple(repositories)
        self.writable = writable
        self.asked = False
        self._connect = connect
        self._reporter = reporter
        self._guard = threading.Lock()
        self._images: dict[str, KnownImage | None] = {}
        self._layers: dict[str, KnownLayer | None] = {}
        self._listings: dict[str, dict[str, str]] = {}
        self._doubted = False
        self._pinned: dict[str, str] = {}
        self._down: set[Reference] = set()
        self._distrusted: set[tuple[str, str]] = set()

    def registry(self, *, patient: bool) -> Registry:
        """A client for whoever moves blobs: ``patient`` for what there is no other way to get."""
        return self._connect(patient)

    def expect(self, pinned: Mapping[str, str]) -> None:
        """What images must be, by derivation: the digests that locks pin. Anything else is not believed."""
        self._pinned.update(pinned)

    def images(self, wanted: Iterable[ImageDerivation]) -> dict[str, KnownImage]:
        """What is known of these images, by derivation: two requests for one that is, one for one that is not."""
        return self._known(wanted, self._images, self._image)

    def layers(self, wanted: Iterable[LayerDerivation]) -> dict[str, KnownLayer]:
        """What is known of these layers, by derivation: one request each."""
        return self._known(wanted, self._layers, self._layer)

    def listings(self, known: Mapping[str, KnownLayer]) -> dict[str, dict[str, str]]:
        """What these layers hold, by derivation; those whose listing cannot be had are left out, and unknown now."""
        todo = {d: k for d, k in known.items() if k.listing is not None and d not in self._listings}
        each(lambda item: self._listing(*item), list(todo.items()))
        return {d: self._listings[d] for d in known if d in self._listings}

    def told(self, derivation: str) -> tuple[KnownLayer, dict[str, str]] | None:
        """A layer with its listing, if both were asked for before; asks nobody."""
        known, listing = self._layers.get(derivation), self._listings.get(derivation)
        return (known, listing) if known is not None and listing is not None else None

    def knows(self, derivation: str, repository: Reference) -> bool:
        """Whether ``repository`` was found to know this image; asks nobody."""
        known = self._images.get(derivation)
        return known is not None and known.repository == str(repository)

    def believes(self, repository: str | None) -> bool:
        """Whether ``repository`` is one of ours: what it has wrong can be made here instead."""
        return any(str(place) == repository for place in self.repositories)

    def doubt_all(self) -> None:
        """Ask nobody from now on; what is made will still be written."""
        self._doubted = True

    def reachable(self, repository: Reference) -> bool:
        """Whether ``repository`` answered so far, or was not asked."""
        return repository not in self._down

    def distrust(self, derivation: str, repository: str, why: str) -> None:
        """What ``repository`` knows of ``derivation`` turned out wrong: say so, and know nothing of it from now on."""
        self._reporter.warn(
            f"the cache {repository} has a bad entry for {derivation[:19]}: {why}; it is not used, and built instead"
        )
        with self._guard:
            self._images.pop(derivation, None)
            self._layers.pop(derivation, None)
            self._listings.pop(derivation, None)
            self._distrusted.add((repository, derivation))

    def distrusted(self, derivation: str, repository: str) -> bool:
        """Whether an entry was found to be wrong, and may be replaced."""
        return (repository, derivation) in self._distrusted

    # -- asking ----------------------------------------------------------------------------------

    def _known(
        self, wanted: Iterable[W], memory: dict[str, K | None], ask: Callable[[W, Reference], K | None]
    ) -> dict[str, K]:
        if not self.repositories or self._doubted:
            return {}
        every = {_hash(w): w for w in wanted}

        def one(item: tuple[str, W]) -> None:
            derivation, w = item
            found = None
            for repository in self.repositories:
                if repository not in self._down and not self.distrusted(derivation, str(repository)):
                    found = self._believed(derivation, w, repository, ask)
                if found is not None:
                    break
            with self._guard:
                memory[derivation] = found

        each(one, [(d, w) for d, w in every.items() if d not in memory])
        known = {d: found for d in every if (found := memory.get(d)) is not None}
        tracing.tell(
            "cache", f"{len(known)} of {len(every)} derivations known to {', '.join(map(str, self.repositories))}"
        )
        return known

    def _believed(
        self, derivation: str, wanted: W, repository: Reference, ask: Callable[[W, Reference], K | None]
    ) -> K | None:
        try:
            return ask(wanted, repository)
        except Unbelievable as e:
            self.distrust(derivation, str(repository), str(e))
        except _Unreachable as e:
            with self._guard:
                if repository in self._down:
                    return None
                self._down.add(repository)
            self._reporter.warn(f"the cache {repository} cannot be asked, so what it knows is built: {e}")
        return None

    def _image(self, image: ImageDerivation, repository: Reference) -> KnownImage | None:
        manifest = self._manifest(repository, image_tag(image.hash))
        if manifest is None:
            return None
        config = self._blob(repository, _config_of(manifest), _MAX_CONFIG)
        known = read_image(image, str(repository), manifest, config)
        if self._pinned.get(image.hash, known.digest) != known.digest:
            raise Unbelievable(f"expected the pinned digest {self._pinned[image.hash]}, found {known.digest}")
        return known

    def _layer(self, layer: LayerDerivation, repository: Reference) -> KnownLayer | None:
        manifest = self._manifest(repository, layer_tag(layer.hash))
        return None if manifest is None else read_layer(layer, str(repository), manifest)

    def _listing(self, derivation: str, known: KnownLayer) -> None:
        from ..registry.reference import Reference

        assert known.listing is not None
        digest, size = known.listing
        try:
            if size > MAX_LISTING:
                raise Unbelievable(f"a listing of {size} bytes")
            found = unpack_listing(self._blob(Reference.parse(known.repository), digest, size))
        except Unbelievable as e:
            self.distrust(derivation, known.repository, str(e))
            return
        with self._guard:
            self._listings[derivation] = found

    def _manifest(self, repository: Reference, tag: str) -> bytes | None:
        self.asked = True
        registry, place = self._connect(False), repository.with_tag(tag)
        try:
            found = registry.manifest(place)
        except RegistryError as e:
            raise (Unbelievable if self._answers(e, place) else _Unreachable)(e.message) from None
        return None if found is None else found.data

    def _answers(self, error: RegistryError, place: Reference) -> bool:
        """Whether ``error`` is about what lies at ``place``, and the registry is well: then it has something there."""
        from ..registry.failures import StatusError

        if isinstance(error, StatusError):
            return False
        try:
            return self._connect(False).head(place) is not None
        except RegistryError:
            return False

    def _blob(self, repository: Reference, digest: str, limit: int) -> bytes:
        try:
            return bytes(self._connect(False).read_blob(repository, digest, limit))
        except RegistryError as e:
            raise Unbelievable(e.message) from None


class _Unreachable(Exception):
    pass


def _hash(wanted: object) -> str:
    assert isinstance(wanted, ImageDerivation | LayerDerivation)
    return wanted.hash


def _config_of(manifest: bytes) -> str:
    import json

    try:
        digest = json.loads(manifest)["config"]["digest"]
    except (ValueError, TypeError, KeyError, RecursionError):
        digest = None
    if not isinstance(digest, str):
        raise Unbelievable(f"expected an image's manifest, found {len(manifest)} bytes that are none")
    return digest
