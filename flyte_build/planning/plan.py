"""What a build would do, and why: derivations against what a cache holds. Pure but for the cache's answers.

The plan is data first (``to_json`` is the documented schema of ``plan --json``, see
``docs/plan-json.md``); the CLI only lays it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol, cast

from ..deriving.derivation import Artifact, ImageDerivation, LayerDerivation
from ..kernel.canonical import Json
from ..kernel.values import dataclass

__all__ = [
    "Cache",
    "CachedLayer",
    "ImagePlan",
    "LayerPlan",
    "Plan",
    "Shared",
    "State",
    "make_plan",
    "spec_differences",
]

State = Literal["cached", "remote", "build"]
"""In the store; not there, but in a shared cache's registry; in neither."""


@dataclass(frozen=True, slots=True)
class CachedLayer:
    """A layer the cache holds: OCI ``digest``, compressed ``size`` in bytes."""

    digest: str
    size: int


class Cache(Protocol):
    """What planning asks of the store (or of any other cache)."""

    def cached_layer(self, derivation: str) -> CachedLayer | None:
        """The realised layer of this derivation hash, if it is really there."""

    def cached_image(self, derivation: str) -> str | None:
        """The manifest digest of this image derivation hash, if it is really there."""

    def has_artifact(self, sha256: str) -> bool:
        """Whether these bytes need not be fetched."""

    def last_image(self, environment: str, platform: str) -> Mapping[str, Json] | None:
        """The derivation spec last built for this environment, for the reason why it is built anew."""


class SharedLayer(Protocol):
    """A layer in a registry: OCI digest, compressed size in bytes."""

    @property
    def digest(self) -> str: ...
    @property
    def size(self) -> int: ...


class SharedImage(Protocol):
    """An image in a registry: the manifest's digest, and its layers in order."""

    @property
    def digest(self) -> str: ...
    @property
    def layers(self) -> Sequence[SharedLayer]: ...


class Shared(Protocol):
    """What planning asks of the caches that machines share, many questions at a time, about what the store lacks."""

    def images(self, wanted: Sequence[ImageDerivation]) -> Mapping[str, SharedImage]:
        """Those of ``wanted`` that are known, by derivation hash."""

    def layers(self, wanted: Sequence[LayerDerivation]) -> Mapping[str, SharedLayer]:
        """Those of ``wanted`` that are known, by derivation hash."""


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """One layer: ``fetch`` are bytes still to download for it, ``shared_with`` other environments of the plan."""

    title: str
    kind: str
    derivation: str
    state: State
    digest: str | None
    size: int | None
    artifacts: int
    fetch: int
    shared_with: tuple[str, ...]

    def to_json(self) -> Json:
        return {
            "title": self.title,
            "kind": self.kind,
            "derivation": self.derivation,
            "state": self.state,
            "digest": self.digest,
            "size": self.size,
            "artifacts": self.artifacts,
            "fetch_bytes": self.fetch,
            "shared_with": list(self.shared_with),
        }


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """One environment's image on one platform, with the reason for its state."""

    environment: str
    platform: str
    derivation: ImageDerivation
    state: State
    why: str
    digest: str | None
    layers: tuple[LayerPlan, ...]
    fetch: tuple[Artifact, ...]

    @property
    def fetch_bytes(self) -> int:
        return sum(a.size for a in self.fetch)

    def to_json(self) -> Json:
        return {
            "environment": self.environment,
            "platform": self.platform,
            "derivation": self.derivation.hash,
            "state": self.state,
            "why": self.why,
            "digest": self.digest,
            "artifacts_to_fetch": len(self.fetch),
            "fetch_bytes": self.fetch_bytes,
            "layers": [layer.to_json() for layer in self.layers],
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """The images of a closure, dependencies first. ``notes`` are things worth knowing, such as who was solved apart."""

    images: tuple[ImagePlan, ...]
    notes: tuple[str, ...] = ()

    @property
    def to_build(self) -> tuple[ImagePlan, ...]:
        return tuple(i for i in self.images if i.state == "build")

    @property
    def cached(self) -> bool:
        """Whether the store has every image, so that nobody was asked about any."""
        return all(i.state == "cached" for i in self.images)

    @property
    def in_registry(self) -> tuple[ImagePlan, ...]:
        """Images that a shared cache has, and the store has not."""
        return tuple(i for i in self.images if i.state == "remote")

    @property
    def pull_bytes(self) -> int:
        """Bytes of the layers that would come from a registry, each once."""
        return sum({x.derivation: x.size or 0 for i in self.images for x in i.layers if x.state == "remote"}.values())

    @property
    def fetch(self) -> tuple[Artifact, ...]:
        """What is to be fetched for all images together, each artifact once."""
        return tuple({a.sha256: a for image in self.images for a in image.fetch}.values())

    @property
    def new_layers(self) -> int:
        """Layers to build, each once however many images hold it."""
        return len({x.derivation for i in self.to_build for x in i.layers if x.state == "build"})

    def to_json(self) -> dict[str, Json]:
        return {
            "schema": 1,
            "images": [i.to_json() for i in self.images],
            "to_build": len(self.to_build),
            "in_registry": len(self.in_registry),
            "pull_bytes": self.pull_bytes,
            "new_layers": self.new_layers,
            "artifacts_to_fetch": len(self.fetch),
            "fetch_bytes": sum(a.size for a in self.fetch),
            "notes": list(self.notes),
        }


def make_plan(
    derivations: Sequence[ImageDerivation], cache: Cache, notes: Iterable[str] = (), shared: Shared | None = None
) -> Plan:
    """Ask the cache about every image and layer, and ``shared`` about those that it lacks.

    An image that is cached needs nothing of its layers' inputs. What is in a registry needs none of its artifacts.
    """
    holders: dict[str, list[str]] = {}
    for d in derivations:
        for layer in d.layers:
            holders.setdefault(layer.hash, []).append(d.environment)
    answers = _Answers(cache, shared)
    answers.ask(derivations)
    return Plan(tuple(_image(d, answers, holders) for d in derivations), tuple(notes))


class _Answers:
    """What both caches know, each asked once about each thing."""

    def __init__(self, cache: Cache, shared: Shared | None) -> None:
        self.cache = cache
        self._shared = shared
        self.images: dict[str, str | None] = {}
        self.layers: dict[str, CachedLayer | None] = {}
        self.shared_images: Mapping[str, SharedImage] = {}
        self.shared_layers: dict[str, SharedLayer] = {}

    def ask(self, derivations: Sequence[ImageDerivation]) -> None:
        self.images = {d.hash: self.cache.cached_image(d.hash) for d in derivations}
        every = {layer.hash: layer for d in derivations for layer in d.layers}
        self.layers = {derivation: self.cache.cached_layer(derivation) for derivation in every}
        for layer in every.values():
            if layer.kind == "base":  # its blob is in the base's own repository, whoever asks
                self.shared_layers[layer.hash] = CachedLayer(str(layer.spec["digest"]), cast(int, layer.spec["size"]))
        if self._shared is None:
            return
        missing = {d.hash: d for d in derivations if self.images[d.hash] is None}
        self.shared_images = self._shared.images(list(missing.values())) if missing else {}
        for d in missing.values():
            if d.hash in self.shared_images:
                rows = zip(d.layers, self.shared_images[d.hash].layers, strict=True)
                self.shared_layers |= {layer.hash: held for layer, held in rows}
        wanted = {
            layer.hash: layer
            for d in missing.values()
            for layer in d.layers
            if self.layers[layer.hash] is None and layer.hash not in self.shared_layers
        }
        if wanted:
            self.shared_layers |= self._shared.layers(list(wanted.values()))


def _image(d: ImageDerivation, answers: _Answers, holders: Mapping[str, list[str]]) -> ImagePlan:
    digest = answers.images[d.hash]
    state: State = "cached" if digest else "build"
    if digest is None and d.hash in answers.shared_images:
        digest, state = answers.shared_images[d.hash].digest, "remote"
    layers: list[LayerPlan] = []
    fetch: dict[str, Artifact] = {}
    for layer in d.layers:
        held: SharedLayer | None = answers.layers[layer.hash]
        at: State = "cached" if held or state == "cached" else "build"
        if at == "build" and layer.hash in answers.shared_layers:
            held, at = answers.shared_layers[layer.hash], "remote"
        missing = [] if at != "build" else [a for a in layer.artifacts if not answers.cache.has_artifact(a.sha256)]
        fetch |= {a.sha256: a for a in missing}
        layers.append(
            LayerPlan(
                title=layer.title,
                kind=layer.kind,
                derivation=layer.hash,
                state=at,
                digest=held.digest if held else None,
                size=held.size if held else None,
                artifacts=len(layer.artifacts),
                fetch=sum(a.size for a in missing),
                shared_with=tuple(e for e in holders[layer.hash] if e != d.environment),
            )
        )
    if state == "cached":
        why = "same derivation as built before"
    else:
        why = "same derivation as in the shared cache" if state == "remote" else _why(d, layers, answers.cache)
    return ImagePlan(d.environment, d.platform, d, state, why, digest, tuple(layers), tuple(fetch.values()))


def _why(d: ImageDerivation, layers: Sequence[LayerPlan], cache: Cache) -> str:
    before = cache.last_image(d.environment, d.platform)
    if before is None:
        new = sum(x.state == "build" for x in layers)
        if new == len(layers):
            return "never built here"
        if new:
            return f"never built here; {new} of {len(layers)} layers are new"
        shared = any(x.state == "remote" for x in layers)
        return "never built, but its layers were" if shared else "never built here, but its layers were"
    changes = spec_differences(before, d.spec)
    return "; ".join(changes) if changes else "its blobs are no longer in the store"


def spec_differences(before: Mapping[str, Json], after: Mapping[str, Json]) -> list[str]:
    """What changed between two image specs, in words: distributions, Debian packages, files, configuration."""
    from ..diffing.comparison import difference
    from ..diffing.contents import of_spec
    from ..diffing.wording import brief

    return brief(difference(of_spec(before, "before", "derivation"), of_spec(after, "after", "derivation")))
