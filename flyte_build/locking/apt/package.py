"""Binary packages and the relations between them, as values. No I/O, no decisions.

The grammar and meaning are Debian policy's (chapter 7) for one architecture: ``foo:any`` and
``foo:native`` are ``foo``, and ``foo:other`` never is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, total_ordering
from typing import Any, TypeAlias

from debian.debian_support import NativeVersion

from ...kernel.errors import ArtifactError
from ...kernel.stanzas import stanzas

__all__ = ["Clause", "Package", "Relation", "Version", "installed_packages", "parse_clauses", "parse_package"]


@total_ordering
class Version:
    """A Debian version, ordered by policy 5.6.12 (``~`` sorts before the end)."""

    __slots__ = ("_native", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        # Not python-debian's `Version`, which is libapt's where that is installed: one rule on all hosts.
        self._native = _native(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and bool(self._native == other._native)

    def __lt__(self, other: Version) -> bool:
        return bool(self._native < other._native)

    def __hash__(self) -> int:
        raise TypeError("equal versions can be written differently (1.0 and 1.00): hash their text")

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=8192)
def _native(text: str) -> Any:
    return NativeVersion(text)


@dataclass(frozen=True, slots=True)
class Relation:
    """``name (operator version)``; ``operator`` is one of ``<< <= = >= >>`` or ``None``.

    ``architecture`` is the qualifier after a colon where it names one.
    """

    name: str
    operator: str | None = None
    version: str | None = None
    architecture: str | None = None

    def __str__(self) -> str:
        name = self.name if self.architecture is None else f"{self.name}:{self.architecture}"
        return name if self.operator is None else f"{name} ({self.operator} {self.version})"

    def accepts(self, version: str) -> bool:
        """Whether ``version`` is within the relation's bound."""
        if self.operator is None or self.version is None:
            return True
        found, bound = Version(version), Version(self.version)
        match self.operator:
            case "<<":
                return found < bound
            case "<=":
                return found <= bound
            case "=":
                return found == bound
            case ">=":
                return found >= bound
            case _:
                return found > bound

    def matched_by(self, package: Package) -> bool:
        """Whether ``package`` itself, or what it provides, is meant (policy 7.5).

        An unversioned Provides never matches a relation with a version.
        """
        if self.architecture is not None and self.architecture != package.native:
            return False
        if package.name == self.name and self.accepts(package.version):
            return True
        return any(
            p.name == self.name and (self.operator is None or (p.version is not None and self.accepts(p.version)))
            for p in package.provides
        )


Clause: TypeAlias = tuple[Relation, ...]
"""Alternatives, of which one has to hold."""


@dataclass(frozen=True, slots=True)
class Package:
    """One binary package in one version.

    ``native`` is the architecture the index is for (``architecture`` may be ``all``). ``depends`` are
    Pre-Depends, then Depends; ``against`` are Conflicts, then Breaks. ``rank`` is the Priority (0 required … 4
    extra). ``path`` is the pool path as the index gives it.
    """

    name: str
    version: str
    architecture: str
    native: str
    source: str
    path: str
    size: int
    sha256: str
    archive: str = "debian"
    component: str = "main"
    rank: int = 3
    depends: tuple[Clause, ...] = ()
    provides: tuple[Relation, ...] = ()
    against: tuple[Relation, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


_RANKS = {"required": 0, "important": 1, "standard": 2, "optional": 3, "extra": 4}


_RELATION = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9+.-]*)(?::([a-z0-9-]+))?\s*(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([A-Za-z0-9][^\s)]*)\s*\))?"
)
_ANY = (None, "any", "native")
_LONGEST = 255


def parse_clauses(text: str) -> tuple[Clause, ...]:
    """A relationship field's clauses, in order; ``ValueError`` names what is no relation (policy 7.1)."""
    # Not python-debian's PkgRelation: what it cannot parse it logs and takes for a package name.
    groups = (group.strip() for group in text.split(","))
    return tuple(tuple(_relation(part.strip()) for part in group.split("|")) for group in groups if group)


def _version(text: str) -> str:
    """``text``, of which :class:`Version` can say how it is ordered; ``ValueError`` where it cannot."""
    if len(text) > _LONGEST:
        raise ValueError(f"expected a version, found {len(text)} characters")
    return str(Version(text))


def _relation(text: str) -> Relation:
    m = _RELATION.fullmatch(text)
    if m is None:
        raise ValueError(f"expected a relation such as `name (>= 1)`, found `{text}`")
    if m[4] is not None:
        _version(m[4])
    # Old fields use < and >, which mean <= and >=.
    operator = {"<": "<=", ">": ">="}.get(m[3], m[3])
    return Relation(m[1], operator, m[4], None if m[2] in _ANY else m[2])


def parse_package(fields: Mapping[str, str], native: str, archive: str) -> Package:
    """The package of one stanza of a ``Packages`` index; ``KeyError`` or ``ValueError`` where it is malformed."""
    name, path = fields["Package"], fields["Filename"]
    source = fields.get("Source", name).split(" ", 1)[0]
    depends = [c for key in ("Pre-Depends", "Depends") for c in parse_clauses(fields.get(key, ""))]
    against = [c[0] for key in ("Conflicts", "Breaks") for c in parse_clauses(fields.get(key, ""))]
    pool = path.removeprefix("pool/").split("/")
    debian = archive in ("debian", "debian-security")
    if debian and (not path.startswith("pool/") or len(pool) < 4):
        raise ValueError(f"Filename: expected a path below pool/, found `{path}`")
    if not debian:
        path = path.removeprefix("./")
        if (
            not path
            or path.startswith("/")
            or ":" in path
            or {"..", "."} & {*path.split("/")}
            or path != "".join(path.split())
        ):
            raise ValueError(f"Filename: expected a path below the source's root, found `{path}`")
    return Package(
        name=name,
        version=_version(fields["Version"]),
        architecture=fields["Architecture"],
        native=native,
        source=source,
        path=path,
        size=int(fields["Size"]),
        sha256=fields["SHA256"].lower(),
        archive=archive,
        # pool/main/o/openssl/… and, in the security archive, pool/updates/main/o/openssl/…
        component="/".join(pool[:-3]) if debian else "",
        rank=_RANKS.get(fields.get("Priority", ""), 3),
        depends=tuple(depends),
        provides=tuple(c[0] for c in parse_clauses(fields.get("Provides", ""))),
        against=tuple(against),
    )


def installed_packages(status: Iterable[str], native: str) -> list[Package]:
    """The installed packages of dpkg databases (dpkg(1), ``/var/lib/dpkg/status``); those of other architectures are
    left out. They have no file: nothing can be fetched for them."""
    found = {}
    for text in status:
        for fields in stanzas(text):
            kept = str(fields.get("Status", "installed")).split()[-1:] == ["installed"]
            name, version = fields.get("Package"), fields.get("Version")
            if not kept or not name or not version or fields.get("Architecture", "all") not in (native, "all"):
                continue
            try:
                found[name] = _installed(name, version, fields, native)
            except ValueError as e:
                raise ArtifactError(
                    f"the base's dpkg database: the package {name}: {e}", hint="take another base: dpkg cannot read it"
                ) from None
    return list(found.values())


def _installed(name: str, version: str, fields: Mapping[str, str], native: str) -> Package:
    depends = [c for key in ("Pre-Depends", "Depends") for c in parse_clauses(fields.get(key, ""))]
    against = [c[0] for key in ("Conflicts", "Breaks") for c in parse_clauses(fields.get(key, ""))]
    return Package(
        name=name,
        version=_version(version),
        architecture=fields.get("Architecture", "all"),
        native=native,
        source=fields.get("Source", name).split(" ", 1)[0],
        path="",
        size=0,
        sha256="",
        depends=tuple(depends),
        provides=tuple(c[0] for c in parse_clauses(fields.get("Provides", ""))),
        against=tuple(against),
    )
