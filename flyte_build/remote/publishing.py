"""Images into their repositories: blobs first, then manifests by digest, then the indexes, and tags last.

So whenever a push stops, what has a tag is whole. What a repository has is not sent again: an image that was pushed
before costs one question. Never builds, never prints.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..assemble.image import INDEX_TYPE, canonical, descriptor
from ..kernel.errors import InputError, RegistryError, StoreError
from ..kernel.reporting import Reporter, Silent
from ..registry.failures import StatusError
from ..registry.reference import Reference
from ..store import Store, layout
from .blobs import Blob, Mover, Tally
from .cache_entries import media_type
from .cache_writer import deposit
from .target import Target, derivation_tag, index_tag
from .threads import each

if TYPE_CHECKING:
    from ..store.built import BuiltImage

__all__ = ["PushedImage", "publish", "references"]


@dataclass(frozen=True, slots=True)
class PushedImage:
    """An environment's image in its repository.

    ``reference``: ``host/repository@sha256:…`` and ``digest``, of the index where there are several ``platforms``
    (platform → the digest of its manifest). ``tags`` are those it has from this push. ``uploaded``, ``mounted`` and
    ``existing``: bytes that travelled, that the registry had elsewhere, that the repository had.
    """

    environment: str
    reference: str
    digest: str
    platforms: Mapping[str, str]
    tags: tuple[str, ...]
    uploaded: int
    mounted: int
    existing: int


@dataclass(slots=True)
class _Document:
    """A manifest or an index, and the tags it is to have; ``there``: the repository has it, with all below it."""

    repository: Reference
    media_type: str
    data: bytes
    derivation_tag: str
    tags: tuple[str, ...] = ()
    there: bool = False
    kept: set[str] = field(default_factory=set)

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.data).hexdigest()


@dataclass(slots=True)
class _Image:
    """One environment: its images, their manifests in the same order, and the index of several."""

    environment: str
    images: list[BuiltImage]
    manifests: list[_Document]
    index: _Document | None
    tally: Tally = field(default_factory=Tally)

    @property
    def named(self) -> _Document:
        return self.index or self.manifests[0]


def publish(
    built: Sequence[BuiltImage],
    store: Store,
    target: Target,
    reporter: Reporter,
    sending: Callable[[list[BuiltImage]], None] | None = None,
) -> list[PushedImage]:
    """Push ``built``, one result an environment in the order of their first appearance. ``sending`` is told of the
    images that the registry lacks, before anything travels.

    Raises :class:`RegistryError` where a registry refuses or cannot be reached, its subclass
    :class:`~.blobs.SourceGone` where a layer is not in the repository that was said to have it, :class:`InputError`
    where one tag would name several images, and :class:`StoreError` for blobs that went from the store. What failed
    leaves no tag; a cache that cannot be written is a warning.
    """
    stop = threading.Event()
    with store.session(stop.is_set) as session:
        work = _Push(store, target, reporter)
        pushes = work.environments(built)
        work.ask(stop)
        lacking = [(p, i) for p in pushes for i, d in zip(p.images, p.manifests, strict=True) if not d.there]
        blobs = _blobs(store, lacking)
        if sending is not None:
            sending([image for _, image in lacking])
        total = sum(blob.size * len(users) for blob, users in blobs.values())
        with reporter.work("push", total, unit="bytes") as bar:
            mover = Mover(target.registry, target.elsewhere, session, bar, stop, _holders(pushes))
            near = target.cache.repositories if target.cache is not None else ()

            def move(digest: str) -> None:
                blob, users = blobs[digest]
                for repository, outcome in mover.move(blob, users, near).items():
                    users[repository].add(outcome, blob.size)

            # The largest first: they decide when the last one is done.
            each(move, sorted(blobs, key=lambda d: -blobs[d][0].size), stop)
        work.send(pushes, stop)
        if target.cache is not None:
            deposit([image for push in pushes for image in push.images], store, target.cache, mover, reporter)
    return [_pushed(push) for push in pushes]


def references(built: Sequence[BuiltImage], store: Store, target: Target) -> dict[str, str]:
    """Where a push would put ``built``: environment → ``host/repository@sha256:…``. Asks no registry."""
    return {push.environment: _pushed(push).reference for push in _Push(store, target, Silent()).environments(built)}


# What registries with immutable tags say to a tag that there is: ECR 400, Harbor and Quay 409 or 412, GAR 400.
_IMMUTABLE = frozenset({400, 403, 405, 409, 412})


class _Push:
    """The documents of one push, each once, and the requests that they take."""

    def __init__(self, store: Store, target: Target, reporter: Reporter) -> None:
        self._store, self._target, self._reporter = store, target, reporter
        self._registry = target.registry
        self._documents: dict[tuple[Reference, str], _Document] = {}

    def environments(self, built: Sequence[BuiltImage]) -> list[_Image]:
        """The images by environment. Raises :class:`InputError` where a tag would name two of them."""
        groups: dict[str, list[BuiltImage]] = {}
        for image in built:
            groups.setdefault(image.environment, []).append(image)
        pushes = [self._environment(name, images) for name, images in groups.items()]
        named: dict[tuple[Reference, str], tuple[str, str]] = {}
        for push in pushes:
            for tag in self._target.tags:
                place = push.named.repository
                other, digest = named.setdefault((place, tag), (push.environment, push.named.digest))
                if digest != push.named.digest:
                    raise InputError(
                        f"the tag `{tag}` would name the images of {other} and {push.environment} in {place}",
                        hint="give each environment a repository of its own (`repository` in [tool.flyte-build]), or "
                        "push one environment at a time with a tag",
                    )
        return pushes

    def _environment(self, name: str, images: list[BuiltImage]) -> _Image:
        repository = self._target.repository(name)
        manifests = [
            self._document(repository, _read(self._store, i.manifest_digest), derivation_tag(i.derivation))
            for i in images
        ]
        index = None
        if len(images) > 1:
            rows = [
                {**descriptor(m.media_type, m.data), "platform": _platform(i.platform)}
                for i, m in zip(images, manifests, strict=True)
            ]
            data = canonical({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": rows})
            tag = index_tag({i.platform: i.derivation for i in images})
            index = self._document(repository, data, tag)
        push = _Image(name, images, manifests, index)
        push.named.tags = tuple(dict.fromkeys((*push.named.tags, *self._target.tags)))
        return push

    def _document(self, repository: Reference, data: bytes, tag: str) -> _Document:
        made = _Document(repository, media_type(data), data, tag)
        return self._documents.setdefault((repository, made.digest), made)

    def ask(self, stop: threading.Event) -> None:
        """What is pushed already has the tag of its derivation."""

        def one(document: _Document) -> None:
            found = self._registry.head(document.repository.with_tag(document.derivation_tag))
            document.there = found is not None and found.digest == document.digest
            if document.there:
                document.kept.add(document.derivation_tag)
            elif found is not None:
                self._reporter.warn(
                    f"{document.repository}: the tag {document.derivation_tag} names {found.digest}, and this "
                    f"derivation is {document.digest} here; the tag is left as it is, and `flyte-build verify` tells "
                    "which is right"
                )
                document.kept.add(document.derivation_tag)

        each(one, list(self._documents.values()), stop)

    def send(self, pushes: Sequence[_Image], stop: threading.Event) -> None:
        """Manifests, then indexes, then tags."""
        documents = list(self._documents.values())
        for index in (False, True):
            each(self._put, [d for d in documents if (d.media_type == INDEX_TYPE) is index and not d.there], stop)
        for push in pushes:
            for document in (*push.manifests, push.index):
                if document is not None and not document.there:
                    push.tally.uploaded += len(document.data)
        # Not at one time with the manifests that an index names: docker-registry loses sight of one while it tags it.
        for index in (False, True):
            wave = [d for d in documents if (d.media_type == INDEX_TYPE) is index]
            tags = [(d, tag) for d in wave for tag in (d.derivation_tag, *d.tags) if tag not in d.kept]
            each(self._tag, tags, stop)

    def _put(self, document: _Document) -> None:
        self._registry.put_manifest(
            document.repository.with_digest(document.digest), document.data, document.media_type
        )

    def _tag(self, item: tuple[_Document, str]) -> None:
        document, tag = item
        place = document.repository.with_tag(tag)
        if tag != document.derivation_tag:
            found = self._registry.head(place)
            if found is not None and found.digest == document.digest:
                return
            if found is not None:
                self._reporter.note(f"{place} was {found.digest}")
        try:
            self._registry.put_manifest(place, document.data, document.media_type)
        except StatusError as e:
            now = self._registry.head(place) if e.status in _IMMUTABLE else None
            if now is None:
                raise
            if tag == document.derivation_tag or now.digest == document.digest:
                # Somebody else was faster, and the tag stays as it is; the image has its digest all the same.
                if now.digest != document.digest:
                    self._reporter.warn(f"{place} names {now.digest}, and the registry lets nobody change it")
                return
            raise RegistryError(
                f"{place} names {now.digest}, and the registry lets nobody change it; the image is there as "
                f"{document.digest}",
                hint="give another --tag, or none: images are named by their digests",
            ) from None


Blobs = dict[str, tuple[Blob, dict[Reference, Tally]]]


def _blobs(store: Store, wanted: Sequence[tuple[_Image, BuiltImage]]) -> Blobs:
    """Every blob of these images once, with the repositories that need it and whose bill each is on."""
    found: Blobs = {}
    for push, image in wanted:
        sources = {layer.digest: layer.source for layer in image.layers}
        manifest = layout.parse(_read(store, image.manifest_digest)) or {}
        for digest, size in layout.references(manifest):
            path = store.blob(digest, size)
            if path is None and sources.get(digest) is None:
                raise _gone(image.environment, digest)
            users = found.setdefault(digest, (Blob(digest, size, path, sources.get(digest)), {}))[1]
            if push.named.repository in users:
                push.tally.existing += size
            else:
                users[push.named.repository] = push.tally
    return found


def _holders(pushes: Sequence[_Image]) -> dict[str, set[Reference]]:
    """Who has a blob because he has an image with it."""
    holders: dict[str, set[Reference]] = {}
    for push in pushes:
        for image, document in zip(push.images, push.manifests, strict=True):
            if document.there:
                push.tally.existing += image.size
                for layer in image.layers:
                    holders.setdefault(layer.digest, set()).add(document.repository)
    return holders


def _pushed(push: _Image) -> PushedImage:
    named = push.named
    return PushedImage(
        push.environment,
        str(named.repository.with_digest(named.digest)),
        named.digest,
        {i.platform: m.digest for i, m in zip(push.images, push.manifests, strict=True)},
        tuple(dict.fromkeys((named.derivation_tag, *named.tags))),
        push.tally.uploaded,
        push.tally.mounted,
        push.tally.existing,
    )


def _platform(platform: str) -> dict[str, Any]:
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


def _read(store: Store, digest: str) -> bytes:
    data = store.document(digest)
    if data is None:
        raise _gone("the image", digest)
    return data


def _gone(name: str, digest: str) -> StoreError:
    return StoreError(
        f"{name}: expected the blob {digest} in the store, found none",
        hint="`flyte-build build` makes it anew: then run this again",
    )
