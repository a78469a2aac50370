"""The documents about an image, by format: which there are, and what each is called where files and registries meet.

What makes them is imported when one is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..locks.nouns import Lock
from ..store import Store, layout
from .packages import Inventory
from .provenance import PREDICATE, Made, provenance

if TYPE_CHECKING:
    from .components import Components

__all__ = ["FORMATS", "Format", "copied", "document", "knowledge", "made_of", "recorded_derivation", "sent"]


@dataclass(frozen=True, slots=True)
class Format:
    """``media_type`` is the document's and the artifact's; ``suffix`` ends a file's name; ``annotations`` say more."""

    name: str
    media_type: str
    suffix: str
    annotations: Mapping[str, str]


FORMATS = {
    f.name: f
    for f in (
        Format("cyclonedx", "application/vnd.cyclonedx+json", ".cdx.json", {}),
        Format("spdx", "application/spdx+json", ".spdx.json", {}),
        Format("provenance", "application/vnd.in-toto+json", ".intoto.json", {"in-toto.io/predicate-type": PREDICATE}),
    )
}


def document(
    format: str, lock: Lock, image: Inventory, made: Made | None = None, parts: Components | None = None
) -> bytes:
    """The document about ``image`` in the :data:`FORMATS` of that name. Provenance takes an image with a digest.
    ``parts`` has what was made of packages before."""
    if format == "cyclonedx":
        if parts is not None:
            return parts.document(image)
        from .cyclonedx import cyclonedx

        return cyclonedx(image)
    if format == "spdx":
        from .spdx import spdx

        return spdx(image)
    return provenance(lock, image, made)


def sent(data: bytes) -> bytes:
    """A document as registries have it: without the white space that a file has for people, a third of it."""
    return json.dumps(json.loads(data), ensure_ascii=False, separators=(",", ":")).encode()


def knowledge(format: str, image: Inventory, made: Made | None) -> int:
    """How many things the document says beyond the lock: one that says more than what is there is worth having, too."""
    if format == "provenance":
        return 1 + len(made.files) if made is not None else 0
    return sum(p.license.known + (p.source_version is not None) for p in image.packages)


def recorded_derivation(lock: Lock, platform: str, digest: str, store: Store) -> str | None:
    """The derivation that the image ``digest`` of ``lock`` came from: as it is pinned, else as the store names it."""
    pin = lock.pins.get(platform)
    if pin is not None and pin.digest == digest:
        return pin.derivation
    name = layout.ref_name(lock.environment, platform)
    for entry in layout.manifests(store.index()):
        if entry.get("digest") == digest and layout.annotation(entry, layout.REF_NAME) == name:
            return layout.annotation(entry, layout.DERIVATION)
    return None


def made_of(store: Store, derivation: str) -> Made | None:
    """The derivation as the store has it, with the files that it copies; ``None`` where it was never here."""
    stored: Any = store.derivation(derivation)
    return Made(derivation, copied(stored["spec"])) if stored is not None else None


def copied(spec: Mapping[str, Any]) -> dict[str, str]:
    """Path in the image → SHA-256 in hex, of the files that the image's derivation copies from the project."""
    rows = [row for layer in spec["layers"] if layer["kind"] == "files" for row in layer["files"]]
    return {str(row["path"]): str(row["sha256"]) for row in rows if "sha256" in row}
