"""The OCI image layout's own files, as values (OCI image-spec v1.1, image-layout.md and image-index.md). No I/O.

``index.json`` names images by ``org.opencontainers.image.ref.name``. Ours also carry the derivation they realise,
in an annotation of our own; descriptors without it were put there by somebody else and are never touched.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, cast

from ..deriving.nouns import ImageDerivation
from .realisations import ImageRealisation

__all__ = [
    "DERIVATION",
    "LAYOUT",
    "REF_NAME",
    "descriptor",
    "dump",
    "empty_index",
    "entry",
    "parse",
    "ref_name",
    "references",
]

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"
DERIVATION = "build.flyte.derivation"

Document = dict[str, Any]

# The grammar of ref.name in annotations.md, without "/", ":", "@" and "+", which some readers refuse.
_REF = re.compile(r"[A-Za-z0-9]+(?:(?:[-._]|--)[A-Za-z0-9]+)*")


def ref_name(environment: str, platform: str) -> str:
    """``fold_env`` on ``linux/amd64`` → ``fold_env-linux-amd64``, always within the specification's grammar."""
    name = environment
    if not _REF.fullmatch(name):
        plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "image"
        name = f"{plain}-{hashlib.sha256(environment.encode()).hexdigest()[:8]}"
    return f"{name}-{platform.replace('/', '-')}"


def empty_index() -> Document:
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}


def parse(data: bytes) -> Document | None:
    """An index or a manifest, or ``None`` where the bytes are not a JSON object."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return cast(Document, found) if isinstance(found, dict) else None


def dump(document: Document) -> bytes:
    """Bytes that depend on the value alone."""
    return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"


def entry(image: ImageDerivation, made: ImageRealisation) -> Document:
    """The entry of ``index.json`` for an image and what it became."""
    verbatim = cast("Document", image.spec.get("verbatim") or {})
    stated = verbatim.get("manifest")
    return descriptor(made.manifest, made.size, stated, image.environment, image.platform, image.hash)


def descriptor(
    digest: str, size: int, stated: Document | None, environment: str, platform: str, derivation: str
) -> Document:
    """An entry of ``index.json`` for one image.

    ``stated``: its manifest, or what a lock says of it. An image that is its registry base may have one of Docker's
    kind; without a media type it is OCI's.
    """
    media_type = (stated or {}).get("mediaType")
    system, architecture = platform.split("/", 1)
    return {
        "mediaType": media_type if isinstance(media_type, str) else MANIFEST,
        "digest": digest,
        "size": size,
        "platform": {"os": system, "architecture": architecture},
        "annotations": {REF_NAME: ref_name(environment, platform), DERIVATION: derivation},
    }


def put(index: Document, entry: Document) -> Document:
    """``index`` with ``entry``, which takes over its name from whoever had it; sorted by name."""
    name = entry["annotations"][REF_NAME]
    others = [m for m in manifests(index) if annotation(m, REF_NAME) != name]
    ordered = sorted([*others, entry], key=lambda m: (annotation(m, REF_NAME) or "", str(m.get("digest"))))
    return {**index, "manifests": ordered}


def manifests(index: Document) -> list[Document]:
    found = index.get("manifests")
    return [m for m in found if isinstance(m, dict)] if isinstance(found, list) else []


def annotation(entry: Document, name: str) -> str | None:
    notes = entry.get("annotations")
    value = notes.get(name) if isinstance(notes, dict) else None
    return value if isinstance(value, str) else None


def references(document: Document) -> list[tuple[str, int]]:
    """(digest, size) of everything an index or manifest points to directly."""
    found: Iterable[object] = [document.get("config"), *(document.get("layers") or []), *manifests(document)]
    return [
        (d["digest"], d["size"])
        for d in found
        if isinstance(d, dict) and isinstance(d.get("digest"), str) and isinstance(d.get("size"), int)
    ]
