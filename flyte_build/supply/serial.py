"""The text of a CycloneDX document, whose serial number is a hash of the rest of it."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid5

from .packages import NAMESPACE

__all__ = ["PLACEHOLDER", "render"]

PLACEHOLDER = UUID(int=0)
"""Stands for the number where it is not known yet."""


def render(document: dict[str, Any]) -> bytes:
    """The bytes of a document whose serial number is the placeholder."""
    document["serialNumber"] = f"urn:uuid:{PLACEHOLDER}"
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    before, number, after = text.partition(f'"serialNumber": "urn:uuid:{PLACEHOLDER}"')
    return f"{before}{number.replace(str(PLACEHOLDER), str(uuid5(NAMESPACE, text)))}{after}".encode()
