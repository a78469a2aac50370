"""What is in an image, from its lock: the one list that every document of this package is written from. Pure.

The lock says name, version, file, size and SHA-256 of every wheel and .deb, and which layers a registry base brings.
What the artifacts say of themselves (licence, source version) is handed in by ``facts``. What nobody knows is absent:
the packages inside a registry base, and what copied files are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast
from uuid import NAMESPACE_URL, uuid5

from packageurl import PackageURL

from ..errors import LockError
from ..locking.lock import Lock, LockedDeb, LockedPlatform, LockedWheel
from .licenses import UNKNOWN, Facts, License

__all__ = ["DEBIAN", "NAMESPACE", "Base", "BaseLayer", "FactsOf", "Inventory", "Package", "inventory", "nothing_known"]

DEBIAN = {"bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14", "duke": "15"}
"""The suites' version numbers, as their /etc/os-release has them (testing and unstable have none there)."""

NAMESPACE = uuid5(NAMESPACE_URL, "pkg:pypi/flyte-build#sbom")
"""Of the names (RFC 9562, version 5) that documents get from their content."""

FactsOf: TypeAlias = Callable[[LockedWheel | LockedDeb], Facts]


@dataclass(frozen=True, slots=True)
class Package:
    """One wheel or .deb. ``source``: the .deb's source package; ``local``: a wheel file of the project's own."""

    kind: Literal["wheel", "deb"]
    name: str
    version: str
    file: str
    size: int
    sha256: str
    purl: str
    license: License = UNKNOWN
    source: str | None = None
    source_version: str | None = None
    source_purl: str | None = None
    local: bool = False


@dataclass(frozen=True, slots=True)
class BaseLayer:
    """A layer that a registry base brings, as its manifest describes it. ``size`` in bytes, compressed."""

    media_type: str
    digest: str
    size: int
    diff_id: str


@dataclass(frozen=True, slots=True)
class Base:
    """A registry base: ``reference`` as the user wrote it, ``digest`` of the platform's manifest."""

    reference: str
    digest: str | None
    layers: tuple[BaseLayer, ...]

    @property
    def name(self) -> str:
        """The reference without its digest."""
        return self.reference.partition("@")[0]

    @property
    def purl(self) -> str | None:
        head, slash, last = self.name.rpartition("/")
        return image_purl(head + slash + last.partition(":")[0], self.digest) if self.digest else None


@dataclass(frozen=True, slots=True)
class Inventory:
    """An image by what it is made of; ``digest`` is its manifest's, where it is known.

    ``suite``: the Debian release that its .debs are of. ``complete``: everything in it that somebody else made is
    listed; false where a base's contents or copied files are not.
    """

    environment: str
    platform: str
    digest: str | None
    suite: str | None
    packages: tuple[Package, ...]
    base: Base | None
    complete: bool

    @property
    def purl(self) -> str | None:
        return image_purl(self.environment, self.digest, self.platform.partition("/")[2]) if self.digest else None

    @property
    def distro_version(self) -> str | None:
        return DEBIAN.get(self.suite) if self.suite is not None else None


def nothing_known(_: LockedWheel | LockedDeb) -> Facts:
    """The facts of artifacts that are not at hand."""
    return Facts()


def inventory(lock: Lock, platform: str, *, digest: str | None = None, facts: FactsOf = nothing_known) -> Inventory:
    """What the image of ``lock`` on ``platform`` holds, Debian packages first, each kind by name.

    ``digest`` is the image's manifest's. Raises :class:`LockError` where the lock has no such platform.
    """
    if platform not in lock.platforms:
        raise LockError(f"{lock.environment}: the lock is not for {platform}, but for {', '.join(lock.platforms)}")
    locked = lock.platforms[platform]
    base = _base(locked)
    steps = [step for step in _list(cast("Mapping[str, Any]", lock.recipe).get("steps")) if isinstance(step, dict)]
    own = {str(path).rpartition("/")[2] for step in steps for path in _list(step.get("wheels"))}
    debs = [_deb(d, locked.suite, facts(d)) for d in sorted(locked.debs, key=lambda d: (d.name, d.architecture))]
    wheels = [_wheel(w, w.file in own, facts(w)) for w in sorted(locked.wheels, key=lambda w: (w.name, w.file))]
    copied = any(step.get("kind") == "copy" for step in steps)
    return Inventory(
        lock.environment,
        platform,
        digest,
        locked.suite if debs else None,
        (*debs, *wheels),
        base,
        complete=base is None and not copied,
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _deb(locked: LockedDeb, suite: str, facts: Facts) -> Package:
    """purl-spec, type deb. ``upstream`` names the source package, under which advisories are published."""
    qualifiers = {"arch": locked.architecture, "distro": suite}
    if locked.source != locked.name:
        qualifiers["upstream"] = locked.source
    source = PackageURL("deb", "debian", locked.source, facts.source_version, {"arch": "source", "distro": suite})
    return Package(
        "deb",
        locked.name,
        locked.version,
        locked.file,
        locked.size,
        locked.sha256,
        PackageURL("deb", "debian", locked.name, locked.version, qualifiers).to_string(),
        facts.license,
        locked.source,
        facts.source_version,
        source.to_string(),
    )


def _wheel(locked: LockedWheel, local: bool, facts: Facts) -> Package:
    """purl-spec, type pypi; a wheel of the project's own is no index's package, whatever it is called."""
    kind, qualifiers = ("generic", {"file_name": locked.file}) if local else ("pypi", None)
    return Package(
        "wheel",
        locked.name,
        locked.version,
        locked.file,
        locked.size,
        locked.sha256,
        PackageURL(kind, None, locked.name, locked.version, qualifiers).to_string(),
        facts.license,
        local=local,
    )


def _base(locked: LockedPlatform) -> Base | None:
    found: Any = getattr(locked, "base", None)
    if found is None:
        return None
    reference, at, digest = str(found.reference).partition("@")
    layers = tuple(BaseLayer(x.media_type, x.digest, x.size, x.diff_id) for x in found.layers)
    return Base(f"{reference}{at}{digest}", digest or None, layers)


def image_purl(name: str, digest: str, architecture: str | None = None) -> str:
    """purl-spec, type oci: the repository's last name and the manifest's digest. Where it is stored is not said."""
    qualifiers = {"arch": architecture} if architecture else None
    return PackageURL("oci", None, name.rpartition("/")[2].lower(), digest, qualifiers).to_string()
