"""One rebuilt image against all that is recorded of it: the pin, the user's store, a registry.

Asks the registry for manifests, and for a layer only where that layer differs and has to be looked into. Never builds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..deriving.derivation import ImageDerivation
from ..diffing.manifests import Divergence, Holder, first_differences
from ..kernel.errors import RegistryError
from ..locks.nouns import Pin
from ..store import Session, Store, layout
from ..store.built import BuiltImage
from ..store.contents import Contents

if TYPE_CHECKING:
    from ..registry.client import Registry
    from ..registry.reference import Reference
    from ..remote.target import Target

__all__ = ["Compared", "Comparison", "Remote", "State", "StoreHolder"]

State = Literal["same", "differs", "absent", "outdated", "incomplete", "missing"]
_BAD: tuple[State, ...] = ("differs", "outdated", "incomplete", "missing")


@dataclass(frozen=True, slots=True)
class Compared:
    """One thing that the rebuilt image was held against.

    ``state``: ``same``; ``differs``; ``absent`` (nothing to compare with); ``outdated``, for a pin of another
    derivation; ``incomplete``, for an image in a registry that lacks blobs of it; ``missing``, where the registry has
    to have the image and has not. ``differences`` say where.
    """

    state: State
    digest: str | None = None
    place: str | None = None
    differences: tuple[str, ...] = ()
    causes: tuple[Divergence, ...] = ()

    @property
    def good(self) -> bool:
        return self.state not in _BAD

    def to_json(self) -> dict[str, object]:
        return {
            "state": self.state,
            "digest": self.digest,
            "place": self.place,
            "differences": [c.to_json() for c in self.causes],
            "messages": list(self.differences),
        }


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a registry has the images: each environment's repository in ``target``, or the one image ``exactly``.

    ``demanded``: the images have to be there.
    """

    registry: Registry
    target: Target | None = None
    exactly: Reference | None = None
    demanded: bool = False

    def reference(self, image: ImageDerivation) -> Reference:
        """What to ask for ``image``; in a repository, the tag that every push of its derivation sets."""
        from ..remote.target import derivation_tag

        if self.exactly is not None:
            return self.exactly
        assert self.target is not None
        return self.target.repository(image.environment).with_tag(derivation_tag(image.hash))


class StoreHolder:
    """A store as where an image's blobs are."""

    def __init__(self, store: Contents) -> None:
        self._store = store

    def document(self, digest: str) -> Mapping[str, Any] | None:
        return self._store.manifest(digest)

    def file(self, digest: str, size: int) -> Path | None:
        return self._store.blob(digest, size)


class _Repository:
    """A registry's repository as where an image's blobs are; what is looked into is pulled for the session's time."""

    def __init__(self, registry: Registry, place: Reference, session: Session) -> None:
        self._registry, self._place, self._session = registry, place, session

    def document(self, digest: str) -> Mapping[str, Any] | None:
        return layout.parse(self._registry.read_blob(self._place, digest))

    def file(self, digest: str, size: int) -> Path | None:
        if self._registry.blob(self._place, digest) is None:
            return None
        path = self._session.temporary("pulled")
        self._registry.pull_blob(self._place, digest, size, path)
        return path


class Comparison:
    """One rebuilt image against all that is recorded of it."""

    def __init__(
        self, session: Session, scratch: Store, image: ImageDerivation, made: BuiltImage, remote: Remote | None
    ) -> None:
        self._session, self._image, self._made, self._remote = session, image, made, remote
        self._store = session.store
        self._scratch = StoreHolder(scratch)
        self._found = scratch.manifest(made.manifest_digest) or {}

    def pin(self, pin: Pin | None) -> Compared:
        if pin is None:
            return Compared("absent")
        if pin.derivation != self._image.hash:
            why = f"the pin is of another derivation: {pin.derivation}, this is {self._image.hash}"
            return Compared("outdated", pin.digest, differences=(why,))
        if pin.digest == self._made.manifest_digest:
            return Compared("same", pin.digest)
        expected, there = self._store.manifest(pin.digest), StoreHolder(self._store)
        if expected is not None:
            return self._differing(pin.digest, expected, there, None)
        if self._remote is not None:
            place = self._remote.reference(self._image).with_digest(pin.digest)
            manifest = self._remote.registry.manifest(place)
            if manifest is not None:
                holder = _Repository(self._remote.registry, place, self._session)
                return self._differing(pin.digest, manifest.json, holder, str(place))
        why = f"expected {pin.digest}, found {self._made.manifest_digest}; no image with the pinned digest is in the "
        why += "store" + (" or the registry" if self._remote else "") + " to say where they differ"
        return Compared("differs", pin.digest, differences=(why,))

    def store(self) -> Compared:
        made = self._store.image(self._image.hash)
        if made is None:
            return Compared("absent")
        if made.manifest == self._made.manifest_digest:
            return Compared("same", made.manifest)
        expected = self._store.manifest(made.manifest) or {}
        return self._differing(made.manifest, expected, StoreHolder(self._store), str(self._store.root))

    def registry(self) -> Compared:
        assert self._remote is not None
        registry, place = self._remote.registry, self._remote.reference(self._image)
        manifest = registry.manifest(place)
        if manifest is not None and (rows := layout.manifests(manifest.json)):
            place = place.with_digest(_entry(rows, self._image.platform, place))
            manifest = registry.manifest(place)
        if manifest is None and self._remote.demanded:
            return Compared("missing", place=str(place), differences=(f"{place}: no such image in the registry",))
        if manifest is None:
            return Compared("absent", place=str(place))
        if manifest.digest != self._made.manifest_digest:
            holder = _Repository(registry, place, self._session)
            return self._differing(manifest.digest, manifest.json, holder, str(place))
        lacking = [d for d, size in layout.references(manifest.json) if registry.blob(place, d) != size]
        if lacking:
            why = f"{place}: the registry lacks {lacking[0]}, or has it with another size"
            return Compared("incomplete", manifest.digest, str(place), (why,))
        return Compared("same", manifest.digest, str(place))

    def _differing(self, digest: str, expected: Mapping[str, Any], there: Holder, place: str | None) -> Compared:
        causes = first_differences(expected, there, self._found, self._scratch)
        said = tuple(str(cause) for cause in causes)
        return Compared(
            "differs", digest, place, said or ("the manifests' bytes differ, not what they say",), tuple(causes)
        )


def _entry(rows: Sequence[Mapping[str, Any]], platform: str, place: Reference) -> str:
    """The digest of the platform's manifest in an index."""
    for row in rows:
        said = row.get("platform") or {}
        if f"{said.get('os')}/{said.get('architecture')}" == platform:
            return str(row.get("digest"))
    raise RegistryError(f"{place}: an index without an image for {platform}")
