"""What is in an image, from its lock: the one list that every document of this package is written from. Pure.

The lock says name, version, file, size and SHA-256 of every wheel and .deb; of a registry base its layers, and what was
found installed in it when it was locked. What the artifacts say of themselves (licence, source version) is handed in as
``facts``. What nobody knows is absent: a hash or a licence of what a base brings, and what copied files are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast
from uuid import NAMESPACE_URL, uuid5

from packageurl import PackageURL

from ..kernel.errors import LockError
from ..locks.nouns import CondaPackage, Lock, LockedDeb, LockedPlatform, LockedPython, LockedWheel
from .licenses import UNKNOWN, Facts, License

if TYPE_CHECKING:
    from ..locks.base import BaseFacts, LockedBase

__all__ = ["DEBIAN", "NAMESPACE", "Base", "BaseLayer", "FactsOf", "Inventory", "Package", "inventory", "nothing_known"]

DEBIAN = {"bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14", "duke": "15"}
"""The suites' version numbers, as their /etc/os-release has them (testing and unstable have none there)."""

NAMESPACE = uuid5(NAMESPACE_URL, "pkg:pypi/flyte-build#sbom")
"""Of the names (RFC 9562, version 5) that documents get from their content."""

FactsOf: TypeAlias = Callable[[LockedWheel | LockedDeb], Facts]


@dataclass(frozen=True, slots=True)
class Package:
    """One Python distribution, Debian or conda package, or the Python itself where it is none.

    ``file``, ``size`` (bytes) and ``sha256`` are ``None`` for what a base brings: it was found installed, not locked.
    ``source``: the .deb's source package; ``local``: a wheel file of the project's own.
    """

    kind: Literal["wheel", "deb", "conda", "python"]
    name: str
    version: str
    file: str | None
    size: int | None
    sha256: str | None
    purl: str | None
    license: License = UNKNOWN
    source: str | None = None
    source_version: str | None = None
    source_purl: str | None = None
    local: bool = False

    @property
    def from_base(self) -> bool:
        return self.sha256 is None

    @property
    def ref(self) -> str:
        """What names it within a document."""
        return f"{self.kind}:{self.sha256 or f'base:{self.name}@{self.version}'}"


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
    digest: str
    layers: tuple[BaseLayer, ...]

    @property
    def name(self) -> str:
        """The reference without its digest."""
        return self.reference.partition("@")[0]

    @property
    def purl(self) -> str:
        head, slash, last = self.name.rpartition("/")
        return image_purl(head + slash + last.partition(":")[0], self.digest)


@dataclass(frozen=True, slots=True)
class Inventory:
    """An image by what it is made of; ``digest`` is its manifest's, where it is known.

    ``distro`` and ``suite``: the distribution (``debian``) and the release (``bookworm``) that its .debs are of.
    ``complete``: all that it was put together from is listed; false for a base, of which packages are known but not
    files, and for copied files, which no lock holds. ``taken``: images that a Dockerfile's stages are, or stand on.
    """

    environment: str
    platform: str
    digest: str | None
    distro: str | None
    suite: str | None
    packages: tuple[Package, ...]
    base: Base | None
    complete: bool
    taken: tuple[Base, ...] = ()

    @property
    def purl(self) -> str | None:
        # An environment may have a name of which a purl keeps nothing.
        if self.digest is None or not self.environment.rpartition("/")[2].strip():
            return None
        return image_purl(self.environment, self.digest, self.platform.partition("/")[2])

    @property
    def distro_version(self) -> str | None:
        return DEBIAN.get(self.suite or "") if self.distro == "debian" else None


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
    base = _base(locked.base) if locked.base is not None else None
    found = locked.base.facts if locked.base is not None else None
    distro, suite = _release(locked, found)
    steps = [step for step in _list(cast("Mapping[str, Any]", lock.recipe).get("steps")) if isinstance(step, dict)]
    own = {str(path).rpartition("/")[2] for step in steps for path in _list(step.get("wheels"))}
    debs = [_deb(d, locked.suite, facts(d)) for d in locked.debs]
    wheels = [_wheel(w, w.file in own, facts(w)) for w in locked.wheels]
    if found is not None:
        debs += _installed(found.debs or (), distro, suite, {d.name for d in locked.debs})
        # What lies below a locked wheel of the same name is uninstalled.
        gone = {w.name for w in locked.wheels}
        wheels += [_distribution(d.name, d.version) for d in found.distributions if d.name not in gone]
    own_python = [_python(locked.python)] if locked.python is not None else []
    copied = any(step.get("kind") == "copy" for step in steps)
    return Inventory(
        lock.environment,
        platform,
        digest,
        distro,
        suite,
        (*sorted(debs, key=_order), *own_python, *map(_conda, locked.conda), *sorted(wheels, key=_order)),
        base,
        complete=base is None and not copied,
        taken=tuple(dict.fromkeys(_base(stage.base) for stage in locked.stages if stage.base is not None)),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _vendor(locked: LockedDeb) -> str:
    """Whose package it is: Debian's, or that of the source by name (purl specification, type ``deb``)."""
    return "debian" if locked.path is None else locked.archive


def _deb(locked: LockedDeb, suite: str, facts: Facts) -> Package:
    """purl-spec, type deb. ``upstream`` names the source package, under which advisories are published."""
    qualifiers = {"arch": locked.architecture, "distro": suite}
    if locked.source != locked.name:
        qualifiers["upstream"] = locked.source
    source = PackageURL(
        "deb", _vendor(locked), locked.source, facts.source_version, {"arch": "source", "distro": suite}
    )
    return Package(
        "deb",
        locked.name,
        locked.version,
        locked.file,
        locked.size,
        locked.sha256,
        PackageURL("deb", _vendor(locked), locked.name, locked.version, qualifiers).to_string(),
        facts.license,
        locked.source,
        facts.source_version,
        source.to_string(),
    )


def _python(locked: LockedPython) -> Package:
    """purl-spec, type generic. The licence is CPython's own, of which every build of it is (SPDX: Python-2.0)."""
    purl = PackageURL("generic", None, locked.name, locked.version, {"file_name": locked.file})
    return Package(
        "python",
        locked.name,
        locked.version,
        locked.file,
        locked.size,
        locked.sha256,
        purl.to_string(),
        License("Python-2.0"),
    )


def _conda(locked: CondaPackage) -> Package:
    """purl-spec, type conda."""
    kind = "tar.bz2" if locked.file.endswith(".tar.bz2") else "conda"
    qualifiers = {"build": locked.build, "subdir": locked.subdir, "type": kind}
    return Package(
        "conda",
        locked.name,
        locked.version,
        locked.file,
        locked.size,
        locked.sha256,
        PackageURL("conda", None, locked.name, locked.version, qualifiers).to_string(),
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


def _order(package: Package) -> tuple[str, str]:
    return package.name, package.ref


def _release(locked: LockedPlatform, found: BaseFacts | None) -> tuple[str | None, str | None]:
    """Distribution and release: the lock's own .debs are Debian's; a base's os-release has ``ID`` and codename."""
    if locked.debs:
        return "debian", locked.suite
    words = (found.system or "").split() if found is not None else []
    return (words[0] if words else None, words[1] if len(words) > 1 else None)


def _installed(rows: Iterable[str], distro: str | None, suite: str | None, replaced: set[str]) -> list[Package]:
    """dpkg's database of a base, ``name version architecture`` a row, without what our own .debs replace."""
    out = []
    for row in rows:
        name, version, architecture = row.split()
        if name not in replaced:
            qualifiers = {"arch": architecture} | ({"distro": suite} if suite else {})
            purl = PackageURL("deb", distro, name, version, qualifiers).to_string() if distro else None
            out.append(Package("deb", name, version, None, None, None, purl))
    return out


def _distribution(name: str, version: str) -> Package:
    return Package("wheel", name, version, None, None, None, PackageURL("pypi", None, name, version).to_string())


def _base(base: LockedBase) -> Base:
    layers = tuple(BaseLayer(x.media_type, x.digest, x.size, x.diff_id) for x in base.layers)
    return Base(base.reference, base.manifest.digest, layers)


def image_purl(name: str, digest: str, architecture: str | None = None) -> str:
    """purl-spec, type oci: the repository's last name and the manifest's digest. Where it is stored is not said."""
    qualifiers = {"arch": architecture} if architecture else None
    return PackageURL("oci", None, name.rpartition("/")[2].lower(), digest, qualifiers).to_string()
