"""The inventory as a CycloneDX 1.6 bill of materials (ECMA-424), in JSON.

The library makes the document: as a whole, or a package's component by itself, as most of an image's are in others, too
(:mod:`.components` keeps them). Keys are put in order afterwards, so that the bytes depend on the content and not on
the order that a version of the library writes. No timestamp (the schema asks for none), and a serial number that is a
hash of the content.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement, LicenseExpression
from cyclonedx.model.lifecycle import LifecyclePhase, PredefinedLifecycle
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema.schema import SchemaVersion1Dot6
from cyclonedx.spdx import is_supported_id
from packageurl import PackageURL

from ..assemble.version import ASSEMBLER
from ..kernel.version import __version__
from .licenses import License
from .packages import Base, Inventory, Package
from .serial import PLACEHOLDER, render

__all__ = ["component", "cyclonedx", "document"]

_DECLARED = LicenseAcknowledgement.DECLARED


def cyclonedx(image: Inventory) -> bytes:
    """The document: UTF-8, ends in a line feed, the same bytes for an equal inventory."""
    return render(document(image))


def component(package: Package) -> dict[str, Any]:
    """A package's component, as JSON."""
    made: Any = _package(package)
    found: dict[str, Any] = json.loads(made.as_json(view_=SchemaVersion1Dot6))
    return found


def document(image: Inventory) -> dict[str, Any]:
    """The document as JSON, but for its serial number, which :func:`~.serial.render` puts in."""
    root = _image(image)
    components = [*_base(image.base), *_system(image), *(_package(p) for p in image.packages)]
    bom = Bom(
        components=components,
        serial_number=PLACEHOLDER,
        metadata=BomMetaData(component=root, lifecycles=[PredefinedLifecycle(LifecyclePhase.BUILD)]),
    )
    bom.metadata.timestamp = None  # type: ignore[assignment]  # optional in the schema
    bom.metadata.tools.components.add(
        Component(
            name="flyte-build",
            version=__version__,
            type=ComponentType.APPLICATION,
            bom_ref="flyte-build",
            purl=PackageURL("pypi", None, "flyte-build", __version__),
            properties=[Property(name="flyte-build:assembler", value=str(ASSEMBLER))],
        )
    )
    bom.register_dependency(root, components)
    made: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    # What the image is put together from, and whether that is all of it; the library knows no compositions.
    made["compositions"] = [
        {"aggregate": "complete" if image.complete else "incomplete", "dependencies": [root.bom_ref.value]}
    ]
    return made


def _image(image: Inventory) -> Component:
    return Component(
        name=image.environment,
        version=image.digest,
        type=ComponentType.CONTAINER,
        bom_ref="image",
        hashes=_hashes(image.digest),
        purl=_purl(image.purl),
        properties=[Property(name="flyte-build:platform", value=image.platform)],
    )


def _system(image: Inventory) -> Iterable[Component]:
    """Consumers look here for the distribution whose advisories hold for the .debs."""
    if image.distro is not None:
        suite = [Property(name="flyte-build:distribution:codename", value=image.suite)] if image.suite else []
        yield Component(
            name=image.distro,
            version=image.distro_version,
            type=ComponentType.OPERATING_SYSTEM,
            bom_ref="operating-system",
            properties=suite,
        )


def _base(base: Base | None) -> Iterable[Component]:
    if base is None:
        return
    layers = [
        Component(
            name=f"layer {number} of {len(base.layers)} of the base image",
            version=layer.digest,
            type=ComponentType.FILE,
            bom_ref=f"base-layer-{number}",
            hashes=_hashes(layer.digest),
            properties=[
                Property(name="flyte-build:layer:diff-id", value=layer.diff_id),
                Property(name="flyte-build:layer:media-type", value=layer.media_type),
                Property(name="flyte-build:size", value=str(layer.size)),
            ],
        )
        for number, layer in enumerate(base.layers, 1)
    ]
    yield Component(
        name=base.name,
        version=base.digest,
        type=ComponentType.CONTAINER,
        bom_ref="base-image",
        description="The base image: of what is in it, only installed packages are listed",
        hashes=_hashes(base.digest),
        purl=_purl(base.purl),
        components=layers,
    )


def _package(package: Package) -> Component:
    properties = []
    if package.from_base:
        properties.append(Property(name="flyte-build:found-in", value="base-image"))
    else:
        properties.append(Property(name="flyte-build:file", value=package.file))
        properties.append(Property(name="flyte-build:size", value=str(package.size)))
    pedigree = None
    if package.source is not None:
        source = Component(
            name=package.source,
            version=package.source_version,
            type=ComponentType.LIBRARY,
            purl=_purl(package.source_purl),
            bom_ref=f"source:{package.sha256}",
        )
        pedigree = Pedigree(ancestors=[source])
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=package.ref,
        hashes=_hashes(package.sha256),
        licenses=list(_licenses(package.license)),
        purl=_purl(package.purl),
        pedigree=pedigree,
        properties=properties,
    )


def _licenses(license: License) -> Iterable[DisjunctiveLicense | LicenseExpression]:
    """One expression, or any number of licences: the schema allows no mixture."""
    if license.expression is None:
        for name in license.names:
            yield DisjunctiveLicense(name=name, acknowledgement=_DECLARED)
    elif is_supported_id(license.expression):
        yield DisjunctiveLicense(id=license.expression, acknowledgement=_DECLARED)
    else:
        yield LicenseExpression(license.expression, acknowledgement=_DECLARED)


def _hashes(digest: str | None) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest.removeprefix("sha256:"))] if digest else []


def _purl(purl: str | None) -> PackageURL | None:
    return PackageURL.from_string(purl) if purl else None
