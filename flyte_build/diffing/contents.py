"""What an image holds, as far as a subject can tell: the one neutral value that differences are computed from.

A lock knows packages and no copied file, a foreign image knows files and no wheel's hash. ``None`` means *not known*,
never *none*: two subjects are compared only in what both of them know. Pure: no I/O; readers build these values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from packaging.utils import canonicalize_name

from ..deriving.derivation import ImageDerivation, LayerDerivation
from ..kernel.canonical import Json
from .entries import File, of_row

__all__ = ["Contents", "Held", "Layer", "Package", "of_derivation", "of_spec", "total"]

# What a layer's spec says besides its members.
_MEMBERS = frozenset({"kind", "title", "wheels", "debs", "files", "entries", "archives", "of"})


@dataclass(frozen=True, slots=True)
class Package:
    """A wheel or a Debian package: ``size`` in bytes of the archive as fetched, ``sha256`` in hex."""

    version: str
    size: int | None = None
    sha256: str | None = None

    def to_json(self) -> Json:
        return {"version": self.version, "size": self.size, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of a layer that was built: ``size`` in bytes of its blob, ``files`` if they were read."""

    digest: str
    size: int
    files: Mapping[str, File] | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. ``derivation`` or ``digest`` identifies it; both are ``None`` where nobody could tell yet.

    ``size``: bytes of its blob. ``wheels`` and ``debs`` by name and ``settings`` (Python, suite, …) are what it is
    made of, ``None`` for an image that was not made here. ``files``: what is at each path, and whiteouts under their
    own names (OCI image-spec v1.1, layer.md); ``because``: why they are not known.
    """

    title: str
    kind: str | None = None
    derivation: str | None = None
    digest: str | None = None
    size: int | None = None
    wheels: Mapping[str, Package] | None = None
    debs: Mapping[str, Package] | None = None
    settings: Mapping[str, Json] | None = None
    files: Mapping[str, File] | None = None
    because: str = "the layer was not built here"

    @property
    def packages(self) -> Mapping[str, Package]:
        """Wheels and Debian packages together; a layer of ours has only one sort of them."""
        return {**(self.wheels or {}), **(self.debs or {})}

    @property
    def artifact_size(self) -> int | None:
        """Bytes of its artifacts as fetched, where all are known; a ``system`` layer only reads those of others."""
        if self.kind == "system":
            return None
        if self.kind == "files":
            return total(f.size for f in self.files.values() if f.kind == "file") if self.files is not None else None
        return total(p.size for p in self.packages.values()) if self.packages else None

    def to_json(self) -> Json:
        return {
            "title": self.title,
            "kind": self.kind,
            "derivation": self.derivation,
            "digest": self.digest,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True)
class Contents:
    """A subject, read. ``subject`` is how a person names it; ``kind`` is lock, environment, derivation or image.

    ``identity``: a lock's fingerprint, a derivation's hash or a manifest's digest. ``facts``: single things worth
    comparing, such as Python or the platform. ``config``: the OCI image configuration's ``config`` object.
    ``copied``: the files that the user's own steps bring. ``unknown``: why a part is not known, by its name.
    """

    subject: str
    kind: str
    identity: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    wheels: Mapping[str, Package] | None = None
    debs: Mapping[str, Package] | None = None
    config: Mapping[str, Json] | None = None
    annotations: Mapping[str, str] | None = None
    copied: Mapping[str, File] | None = None
    layers: tuple[Layer, ...] | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int | None:
        """Bytes of all layers' blobs."""
        return total(layer.size for layer in self.layers) if self.layers is not None else None

    @property
    def artifact_size(self) -> int | None:
        """Bytes of all wheels and Debian packages, as fetched."""
        if self.wheels is None or self.debs is None:
            return None
        return total(p.size for p in (*self.wheels.values(), *self.debs.values()))

    def to_json(self) -> Json:
        return {
            "subject": self.subject,
            "kind": self.kind,
            "identity": self.identity,
            "size": self.size,
            "artifact_size": self.artifact_size,
        }


def total(sizes: Sequence[int | None] | object) -> int | None:
    """The sum, or ``None`` where one of them is not known."""
    known = list(cast("Sequence[int | None]", sizes))
    return None if any(s is None for s in known) else sum(cast("list[int]", known))


def of_derivation(image: ImageDerivation, subject: str, held: Mapping[str, Held] | None = None) -> Contents:
    """The contents of an image that may not have been built; ``held`` are the layers that were, by derivation."""
    sources = {a.sha256: a for a in image.artifacts.values()}
    versions = {sha: getattr(a.source, "version", "") for sha, a in sources.items() if a.source is not None}
    sizes = {sha: a.size for sha, a in sources.items()}
    return of_spec(image.spec, subject, "environment", identity=image.hash, held=held, sizes=sizes, versions=versions)


def of_spec(
    spec: Mapping[str, Json],
    subject: str,
    kind: str,
    *,
    identity: str | None = None,
    held: Mapping[str, Held] | None = None,
    sizes: Mapping[str, int] | None = None,
    versions: Mapping[str, str] | None = None,
) -> Contents:
    """The contents of an image's derivation (``flyte_build.deriving.derivation`` documents the spec).

    ``sizes`` (bytes) and ``versions`` by SHA-256 tell what file names do not: a pool's file name has no epoch.
    """
    layers = tuple(
        _layer(raw, held or {}, sizes or {}, versions or {})
        for raw in cast("list[dict[str, Json]]", spec.get("layers") or [])
    )
    wheels: dict[str, Package] = {}
    debs: dict[str, Package] = {}
    copied: dict[str, File] = {}
    for layer in layers:
        wheels |= layer.wheels or {}
        debs |= layer.debs or {}
        if layer.kind == "files":
            copied |= layer.files or {}
    return Contents(
        subject=subject,
        kind=kind,
        identity=identity,
        facts=_facts(spec, layers),
        wheels=wheels,
        debs=debs,
        config=cast("Mapping[str, Json]", spec.get("config") or {}),
        annotations=cast("Mapping[str, str]", spec.get("annotations") or {}),
        copied=copied,
        layers=layers,
    )


def _layer(
    raw: Mapping[str, Json], held: Mapping[str, Held], sizes: Mapping[str, int], versions: Mapping[str, str]
) -> Layer:
    derivation = LayerDerivation(raw, ()).hash
    found = held.get(derivation)
    files = found.files if found is not None else None
    kind = str(raw["kind"])
    if kind == "files":
        # The spec has the files' SHA-256, a listing only their CRC-32.
        files = {str(row["path"]): of_row(row) for row in cast("list[dict[str, Json]]", raw.get("files") or [])}
    # A base's layer and a sealed one are known by their digest, wherever they lie.
    base = (str(raw["digest"]), cast(int, raw["size"])) if kind in ("base", "sealed") else (None, None)
    return Layer(
        title=str(raw["title"]),
        kind=kind,
        derivation=derivation,
        digest=found.digest if found else base[0],
        size=found.size if found else base[1],
        wheels=_members(raw, "wheels", sizes, versions),
        debs=_members(raw, "debs", sizes, versions),
        settings={k: v for k, v in raw.items() if k not in _MEMBERS},
        files=files,
    )


def _members(
    raw: Mapping[str, Json], key: str, sizes: Mapping[str, int], versions: Mapping[str, str]
) -> dict[str, Package]:
    """The wheels or .debs of a layer by name, off their file names (PEP 427; Debian Policy, 5.6.12 for the version)."""
    out = {}
    for member in cast("list[dict[str, str]]", raw.get(key) or []):
        sha256 = member["sha256"]
        name, version = member["file"].split("-" if key == "wheels" else "_")[:2]
        plain = canonicalize_name(name) if key == "wheels" else name
        out[str(plain)] = Package(versions.get(sha256, version), sizes.get(sha256), sha256)
    return out


def _facts(spec: Mapping[str, Json], layers: Sequence[Layer]) -> dict[str, str]:
    facts = {"platform": str(spec["platform"])} if "platform" in spec else {}
    annotations = cast("Mapping[str, str]", spec.get("annotations") or {})
    if digest := annotations.get("org.opencontainers.image.base.digest"):
        facts["base"] = f"{annotations.get('org.opencontainers.image.base.name', '')}@{digest}"
    if "verbatim" in spec:
        facts["base"] = str(cast("Mapping[str, Json]", spec["verbatim"])["reference"])
    for layer in layers:
        for key in ("python", "suite", "assembler"):
            if layer.settings and key in layer.settings:
                facts.setdefault(key, str(layer.settings[key]))
    return facts
