"""The OCI image layout's own files, as values (OCI image-spec v1.1, image-layout.md and image-index.md). No I/O.

``index.json`` names images by ``org.opencontainers.image.ref.name``. Ours also carry the derivation they realise,
in an annotation of our own; descriptors without it were put there by somebody else and are never touched.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

from ..deriving.nouns import ImageDerivation
from ..kernel import documents
from ..kernel.digests import sha256
from ..kernel.errors import StoreError
from .realisations import ImageRealisation, hexadecimal

__all__ = [
    "DERIVATION",
    "LAYOUT",
    "REF_NAME",
    "Malformed",
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


class Malformed(StoreError, ValueError):
    """An index or a manifest that is JSON and not of its shape: others may have written it."""


def ref_name(environment: str, platform: str) -> str:
    """``fold_env`` on ``linux/amd64`` → ``fold_env-linux-amd64``, always within the specification's grammar."""
    name = environment
    if not _REF.fullmatch(name):
        plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "image"
        name = f"{plain}-{sha256(environment.encode()).hexdigest()[:8]}"
    return f"{name}-{platform.replace('/', '-')}"


def empty_index() -> Document:
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}


def parse(data: bytes) -> Document | None:
    """An index or a manifest, or ``None`` where the bytes are not a JSON object."""
    try:
        return documents.parse_object(data)
    except ValueError:
        return None


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
    """(digest, size) of everything an index or manifest points to directly.

    Raises :class:`Malformed` where it points to what is no descriptor (OCI image-spec, descriptor.md): without it an
    image would look whole that is not.
    """
    rows = [("config", document["config"])] if document.get("config") is not None else []
    for key in ("layers", "manifests"):
        listed = document.get(key)
        if listed is not None and not isinstance(listed, list):
            raise _malformed(key, "a list", listed)
        rows += [(f"{key}[{number}]", row) for number, row in enumerate(listed or [])]
    found = []
    for where, row in rows:
        digest, size = (row.get("digest"), row.get("size")) if isinstance(row, dict) else (None, None)
        if type(size) is not int or size < 0 or not isinstance(digest, str):
            raise _malformed(where, "a descriptor with digest and size", row)
        try:
            hexadecimal(digest)
        except ValueError as e:
            raise _malformed(where, "a descriptor", row) from e
        found.append((digest, size))
    return found


def _malformed(where: str, expected: str, found: object) -> Malformed:
    shown = repr(found)
    return Malformed(
        f"an image's manifest: {where}: expected {expected}, found {shown[:80]}{'…' * (len(shown) > 80)}",
        hint="where it is one of the store, `flyte-build store verify` names it",
    )
