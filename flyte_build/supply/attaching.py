"""SBOMs and provenance beside the pushed image: referrers of each platform's manifest.

Each is an artifact manifest with a ``subject`` (image specification 1.1, "Guidelines for Artifact Usage"), so the
registry lists it with the image, and deletes it with it. What is there is not sent again: a document that this version
made, and that says as much about the same lock, is left alone. Makes nothing up, and never changes an image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..assemble.version import ASSEMBLER
from ..kernel.errors import RegistryError
from ..kernel.reporting import Reporter
from ..kernel.version import __version__
from ..locks.nouns import Lock
from ..registry.reference import Reference
from ..registry.values import EMPTY, IMAGE_MANIFEST
from ..remote.cache_entries import media_type
from ..remote.threads import each
from ..store import Store
from .documents import FORMATS, Format, knowledge, made_of, recorded_derivation
from .foreseen import OF_INVENTORY, Foreseen
from .packages import Inventory
from .provenance import Made, lock_digest
from .pushing import EMPTY_TYPE

if TYPE_CHECKING:
    from ..registry.client import Registry
    from ..remote.publishing import PushedImage
    from ..store.built import BuiltImage

__all__ = ["Attached", "attach", "foresee"]

_LOCK = "build.flyte.lock"
_MAKER = "build.flyte.maker"
_KNOWN = "build.flyte.known"
_TITLE = "org.opencontainers.image.title"


@dataclass(frozen=True, slots=True)
class Attached:
    """One referrer: ``reference`` is its own, ``host/repository@sha256:…``, ``subject`` the digest that it is about.

    ``new``: it was not there before.
    """

    environment: str
    platform: str
    format: str
    subject: str
    reference: str
    new: bool


@dataclass(frozen=True, slots=True)
class _Subject:
    """One platform's image in its repository, and all there is to say about it. ``manifest``: its bytes, if they are
    here."""

    repository: Reference
    lock: Lock
    image: Inventory
    made: Made | None
    manifest: bytes | None

    @property
    def digest(self) -> str:
        assert self.image.digest is not None
        return self.image.digest


def foresee(
    images: Sequence[BuiltImage],
    locks: Mapping[str, Lock],
    store: Store,
    foreseen: Foreseen,
    registry: Registry,
    place: Callable[[str], Reference],
) -> None:
    """Have the documents made, and sent, that :func:`attach` will want once ``images``, which the registry lacks, are
    pushed; ``locks`` and ``place``, the repository, by environment."""

    def begin() -> None:
        for image in images:
            lock, repository = locks[image.environment], place(image.environment)
            about = foreseen.inventory(lock, image.platform, image.manifest_digest)
            foreseen.begin(lock, [about])
            foreseen.post(registry, (repository, image.manifest_digest, ""), lambda: EMPTY, EMPTY_TYPE)
            for format in FORMATS.values():
                make = partial(_made, format.name, lock, about, image.derivation, store, foreseen)
                foreseen.post(registry, (repository, image.manifest_digest, format.name), make, format.media_type)

    foreseen.later(begin)


def _made(format: str, lock: Lock, about: Inventory, derivation: str, store: Store, foreseen: Foreseen) -> bytes:
    made = made_of(store, derivation) if format not in OF_INVENTORY else None
    return foreseen.document(format, lock, about, made)


def attach(
    pushed: Sequence[PushedImage],
    locks: Mapping[str, Lock],
    store: Store,
    registry: Registry,
    reporter: Reporter,
    *,
    formats: Sequence[str] = tuple(FORMATS),
    foreseen: Foreseen | None = None,
) -> list[Attached]:
    """Attach the documents about each platform's image of ``pushed``; ``locks`` by environment, ``foreseen`` has those
    that are made already.

    Costs one question an image where everything is there. Raises :class:`RegistryError` where the registry refuses.
    """
    made = foreseen or Foreseen(store)
    facts = made.facts
    subjects = [
        _subject(Reference.parse(one.reference), locks[one.environment], platform, digest, store, made)
        for one in pushed
        for platform, digest in one.platforms.items()
    ]
    with reporter.work("attach SBOMs and provenance", len(subjects)) as progress:

        def work(subject: _Subject) -> list[Attached]:
            done = _attach(subject, formats, registry, made)
            progress.advance()
            return done

        attached = [one for found in each(work, subjects) for one in found]
    if facts.absent and any(one.new for one in attached):
        reporter.note(
            f"SBOM: the licences of {len(facts.absent)} packages are not known, as these are not in the store; a push "
            "from where they are adds an SBOM that says them"
        )
    return attached


def _subject(pushed: Reference, lock: Lock, platform: str, digest: str, store: Store, known: Foreseen) -> _Subject:
    image = known.inventory(lock, platform, digest)
    derivation = recorded_derivation(lock, platform, digest, store)
    made = made_of(store, derivation) if derivation is not None else None
    repository = replace(pushed, tag=None, digest=None)
    return _Subject(repository, lock, image, made, store.document(digest))


def _attach(subject: _Subject, formats: Sequence[str], registry: Registry, made: Foreseen) -> list[Attached]:
    there = registry.referrers(subject.repository, subject.digest)
    notes = {name: _annotations(subject, FORMATS[name]) for name in formats}
    fitting = {name: [d for d in there if _says_as_much(d, FORMATS[name], notes[name])] for name in formats}
    missing = [name for name in formats if not fitting[name]]
    described = _described(subject, registry) if missing else {}
    # What is large travels side by side; the manifests go in their order, and into one list at once.
    blobs = _uploaded(subject, missing, registry, made) if missing else {}
    manifests = {name: _manifest(subject, FORMATS[name], notes[name], described, blobs) for name in missing}
    put = registry.put_referrers(subject.repository, list(manifests.values()), IMAGE_MANIFEST) if missing else []
    stored = dict(zip(manifests, (result.digest for result in put), strict=True))
    listed = {d.get("digest") for d in there}
    out = []
    for name in formats:
        if name in stored:
            found, new = stored[name], stored[name] not in listed
        else:
            best = max(fitting[name], key=lambda d: (int(d["annotations"][_KNOWN]), str(d["digest"])))
            found, new = str(best["digest"]), False
        reference = str(subject.repository.with_digest(found))
        out.append(Attached(subject.image.environment, subject.image.platform, name, subject.digest, reference, new))
    return out


def _annotations(subject: _Subject, format: Format) -> dict[str, str]:
    return {
        _LOCK: lock_digest(subject.lock),
        _MAKER: f"flyte-build {__version__}, assembler {ASSEMBLER}",
        _KNOWN: str(knowledge(format.name, subject.image, subject.made)),
        **format.annotations,
    }


def _says_as_much(descriptor: Mapping[str, Any], format: Format, notes: Mapping[str, str]) -> bool:
    """Whether a referrer is about the same lock, by the same version, and knows no less. Lists carry annotations
    (distribution specification, "Listing Referrers")."""
    said = descriptor.get("annotations")
    if descriptor.get("artifactType") != format.media_type or not isinstance(said, dict):
        return False
    known = str(said.get(_KNOWN, ""))
    same = all(said.get(key) == notes[key] for key in (_LOCK, _MAKER))
    number = known.isascii() and known.isdigit() and len(known) < 10
    return same and number and int(known) >= int(notes[_KNOWN])


def _described(subject: _Subject, registry: Registry) -> dict[str, Any]:
    if subject.manifest is not None:
        kind = media_type(subject.manifest)
        return {"mediaType": kind, "digest": subject.digest, "size": len(subject.manifest)}
    found = registry.head(subject.repository.with_digest(subject.digest))
    if found is None:
        raise RegistryError(
            f"{subject.repository}: expected the image {subject.digest} to attach documents to, found none",
            hint="push the image first",
        )
    return {"mediaType": found.media_type, "digest": found.digest, "size": found.size}


def _uploaded(subject: _Subject, names: Sequence[str], registry: Registry, made: Foreseen) -> dict[str, dict[str, Any]]:
    """The documents' descriptors by format, under ``""`` the empty config's; the repository has them all then."""

    def upload(name: str) -> dict[str, Any]:
        if not name:
            return made.push(registry, (subject.repository, subject.digest, ""), EMPTY, EMPTY_TYPE)
        data = made.document(name, subject.lock, subject.image, subject.made)
        return made.push(registry, (subject.repository, subject.digest, name), data, FORMATS[name].media_type)

    return dict(zip(("", *names), each(upload, ("", *names)), strict=True))


def _manifest(
    subject: _Subject,
    format: Format,
    notes: Mapping[str, str],
    described: Mapping[str, Any],
    blobs: Mapping[str, dict[str, Any]],
) -> bytes:
    title = f"{subject.image.environment}-{subject.image.platform.replace('/', '-')}{format.suffix}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "artifactType": format.media_type,
        "config": blobs[""],
        "layers": [{**blobs[format.name], "annotations": {_TITLE: title, **format.annotations}}],
        "subject": described,
        "annotations": dict(notes),
    }
    return json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
