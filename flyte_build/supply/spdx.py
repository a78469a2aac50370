"""The inventory as an SPDX 2.3 document (ISO/IEC 5962's successor), in JSON.

Written by hand: the document is three flat lists, and the library that knows them brings RDF with it (it validates this
in the tests). What is not known is ``NOASSERTION``, which the specification has for it. It demands a time of creation:
that of the images, 1980-01-01, because no clock is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from uuid import uuid5

from ..kernel.canonical import Json, canonical
from ..kernel.version import __version__
from .licenses import License
from .packages import NAMESPACE, Base, Inventory, Package

__all__ = ["MEDIA_TYPE", "spdx"]

MEDIA_TYPE = "application/spdx+json"

_NOTHING = "NOASSERTION"
_CREATED = "1980-01-01T00:00:00Z"
_IMAGE = "SPDXRef-image"
_BASE = "SPDXRef-base-image"


def spdx(image: Inventory) -> bytes:
    """The document: UTF-8, ends in a line feed, the same bytes for an equal inventory."""
    packages: list[dict[str, Json]] = [_image(image)]
    related: list[tuple[str, str, str]] = [("SPDXRef-DOCUMENT", "DESCRIBES", _IMAGE)]
    if image.base is not None:
        packages += _base(image.base)
        related.append((_IMAGE, "DESCENDANT_OF", _BASE))
        related += [(_BASE, "CONTAINS", str(layer["SPDXID"])) for layer in packages[2:]]
    if image.distro is not None:
        packages.append(_system(image.distro, image.suite, image.distro_version))
        related.append((_IMAGE, "CONTAINS", "SPDXRef-operating-system"))
    for package in image.packages:
        packages.append(_package(package))
        related.append((_IMAGE, "CONTAINS", _id(package)))
    name = re.sub(r"[^A-Za-z0-9.-]", "-", f"{image.environment}-{image.platform}")
    document: dict[str, Json] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{image.environment} on {image.platform}",
        "creationInfo": {
            "created": _CREATED,
            "creators": [f"Tool: flyte-build-{__version__}"],
            "comment": "Derived from the lock. No clock was read: `created` is the fixed date of the image's files.",
        },
        "documentDescribes": [_IMAGE],
        "packages": list(packages),
        "relationships": [
            {"spdxElementId": a, "relationshipType": kind, "relatedSpdxElement": b} for a, kind, b in related
        ],
    }
    # Section 6.5: unique to the document, by the convention that needs no web page to exist.
    unique = uuid5(NAMESPACE, canonical(document).decode())
    document["documentNamespace"] = f"https://spdx.org/spdxdocs/{name}-{unique}"
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _base_fields(ref: str, name: str, version: str | None, **more: Json) -> dict[str, Json]:
    """What every package has: section 7 of the specification."""
    out: dict[str, Json] = {"SPDXID": ref, "name": name}
    if version is not None:
        out["versionInfo"] = version
    return out | {
        "downloadLocation": _NOTHING,
        "filesAnalyzed": False,
        "licenseConcluded": _NOTHING,
        "licenseDeclared": _NOTHING,
        "copyrightText": _NOTHING,
        **more,
    }


def _image(image: Inventory) -> dict[str, Json]:
    what = "Everything that it was put together from is listed" if image.complete else (
        "Of its base image, only installed packages are listed" if image.base else "Files copied into it are not listed"
    )  # fmt: skip
    out = _base_fields(
        _IMAGE, image.environment, image.digest, primaryPackagePurpose="CONTAINER", comment=f"{image.platform}. {what}."
    )
    if image.digest is not None:
        out["checksums"] = _checksums(image.digest)
    if image.purl:
        out["externalRefs"] = _purl(image.purl)
    return out


def _system(distro: str, suite: str | None, version: str | None) -> dict[str, Json]:
    return _base_fields(
        "SPDXRef-operating-system",
        distro,
        version,
        primaryPackagePurpose="OPERATING-SYSTEM",
        comment=f"{distro} {suite or ''}".strip() + ": the distribution that the image's .debs are of.",
    )


def _base(base: Base) -> list[dict[str, Json]]:
    first = _base_fields(
        _BASE,
        base.name,
        base.digest,
        primaryPackagePurpose="CONTAINER",
        comment="The base image: of what is in it, only installed packages are listed.",
        checksums=_checksums(base.digest),
        externalRefs=_purl(base.purl),
    )
    layers = [
        _base_fields(
            f"SPDXRef-base-layer-{number}",
            f"layer {number} of {len(base.layers)} of the base image",
            layer.digest,
            primaryPackagePurpose="ARCHIVE",
            checksums=_checksums(layer.digest),
            comment=f"{layer.media_type}, {layer.size} bytes, diff_id {layer.diff_id}",
        )
        for number, layer in enumerate(base.layers, 1)
    ]
    return [first, *layers]


def _package(package: Package) -> dict[str, Json]:
    out = _base_fields(
        _id(package),
        package.name,
        package.version,
        primaryPackagePurpose="LIBRARY",
    )
    if package.purl is not None:
        out["externalRefs"] = _purl(package.purl)
    if package.sha256 is not None:
        out |= {"packageFileName": package.file, "checksums": _checksums(package.sha256)}
    else:
        out["comment"] = "Found installed in the base image when that was locked."
    out |= _licenses(package.license)
    if package.source is not None:
        version = f" {package.source_version}" if package.source_version else ""
        out["sourceInfo"] = f"built from the source package {package.source}{version}"
    return out


def _licenses(license: License) -> dict[str, Json]:
    """A reference to a licence's text takes that text (section 10), which is not here: its name is then a comment."""
    if license.expression is not None and "LicenseRef-" not in license.expression:
        return {"licenseDeclared": license.expression}
    said = [license.expression] if license.expression is not None else list(license.names)
    return {"licenseComments": "declared as: " + "; ".join(said)} if said else {}


def _id(package: Package) -> str:
    """Unique, and of the letters that section 3.2 allows."""
    plain = re.sub(r"[^A-Za-z0-9.-]", "-", package.name)
    unique = package.sha256 or hashlib.sha256(package.ref.encode()).hexdigest()
    return f"SPDXRef-{package.kind}-{plain}-{unique[:12]}"


def _checksums(digest: str) -> Json:
    return [{"algorithm": "SHA256", "checksumValue": digest.removeprefix("sha256:")}]


def _purl(purl: str | None) -> Json:
    return [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}]
