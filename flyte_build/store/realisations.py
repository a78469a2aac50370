"""What a derivation became: values and their form on disk. No I/O.

A realisation is found by its derivation's hash and names blobs by digest. It is a claim that anyone can check:
a layer's digest is a pure function of its derivation (law 3).
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping

from ..kernel import documents
from ..kernel.canonical import canonical
from ..kernel.values import dataclass

__all__ = ["ImageRealisation", "LayerRealisation", "Realisation", "hexadecimal", "packed"]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def hexadecimal(digest: str) -> str:
    """The 64 digits of ``sha256:<hex>``; raises ``ValueError`` for anything else, so that it is safe as a file name."""
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"expected sha256:<64 hexadecimal digits>, found {digest!r}")
    return digest[7:]


@dataclass(frozen=True, slots=True)
class LayerRealisation:
    """A layer's blob: ``digest`` and ``size`` (bytes) as stored, ``diff_id`` and ``diff_size`` as the tar stream."""

    digest: str
    size: int
    diff_id: str
    diff_size: int


@dataclass(frozen=True, slots=True)
class ImageRealisation:
    """An image: its manifest's digest and the manifest's own size in bytes."""

    manifest: str
    size: int


Realisation = LayerRealisation | ImageRealisation


def packed(listing: Mapping[str, str]) -> bytes:
    """A layer's listing as the store has it: zlib's form, but stored, as to compress it takes longer than to use it."""
    return zlib.compress(json.dumps(dict(listing), ensure_ascii=False).encode(), 0)


def encode(realisation: Realisation) -> bytes:
    layer = isinstance(realisation, LayerRealisation)
    kind = "layer" if layer else "image"
    names = ("digest", "size", "diff_id", "diff_size") if layer else ("manifest", "size")
    held = {name: getattr(realisation, name) for name in names}
    return canonical({"schema": 1, "kind": kind, **held}) + b"\n"


def decode(data: bytes) -> Realisation | None:
    """The realisation, or ``None`` where the bytes are not one (then it is made anew)."""
    try:
        raw = documents.parse_object(data)
        if raw.pop("schema") != 1:
            return None
        kind = raw.pop("kind")
        found: Realisation = {"layer": LayerRealisation, "image": ImageRealisation}[kind](**raw)
        layer = isinstance(found, LayerRealisation)
        digests = (raw["digest"], raw["diff_id"]) if layer else (raw["manifest"],)
        sizes = (raw["size"], raw["diff_size"]) if layer else (raw["size"],)
        for digest in digests:
            hexadecimal(digest)
        if not all(type(size) is int and size >= 0 for size in sizes):
            return None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return found
