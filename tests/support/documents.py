"""The validators of the documents that ``sbom`` writes. Importing them takes seconds, so a test that asks does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["bom_of", "cyclonedx_mistake", "spdx_document", "spdx_error", "spdx_mistakes"]


def cyclonedx_mistake(document: str) -> object | None:
    """What the format's JSON schema has against a CycloneDX document; ``None`` where it is valid."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(document)


def bom_of(document: Any) -> Any:
    """The document as the format's own library reads it."""
    from cyclonedx.model.bom import Bom

    return Bom.from_json(document)  # type: ignore[attr-defined]


def spdx_document(path: Path) -> Any:
    """The file as SPDX's own library reads it. Raises :func:`spdx_error`."""
    from spdx_tools.spdx.parser.parse_anything import parse_file

    return parse_file(str(path))


def spdx_error() -> type[Exception]:
    from spdx_tools.spdx.parser.error import SPDXParsingError

    return SPDXParsingError


def spdx_mistakes(document: Any) -> list[Any]:
    """What SPDX's own library has against a document that it has read."""
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    return validate_full_spdx_document(document)
