"""A layer from a list of members, read in every way that flyte-build reads one."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flyte_build.assemble.base import copy_base
from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.version import ASSEMBLER
from flyte_build.diffing.tarfiles import read_layer as read_to_compare
from flyte_build.kernel.errors import ArtifactError
from flyte_build.locking.inspecting import Tree, read_layer
from flyte_build.remote.cache_entries import Unbelievable
from flyte_build.remote.listing import read_listing
from flyte_build.submit.unpack import unpack

__all__ = ["READERS", "REFUSALS", "Reader", "digest", "member", "packed", "tar"]

Reader = Callable[[Path, str], str]
REFUSALS = (ArtifactError, AssembleError, Unbelievable)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(data), 0o755
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar(members: Sequence[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data) if data else None)
    return out.getvalue()


def packed(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def _copied(blob: Path, diff_id: str) -> str:
    data = blob.read_bytes()
    spec = {"kind": "base", "assembler": ASSEMBLER, "title": "base:1 (1 of 1)", "digest": digest(data)}
    spec |= {"size": len(data), "diff_id": diff_id, "media_type": "application/vnd.oci.image.layer.v1.tar+gzip"}
    with open(blob, "rb") as f:
        return copy_base(spec, f, io.BytesIO()).diff_id


def _unpacked(blob: Path, diff_id: str) -> str:
    into = blob.with_name(f"{blob.name}.tree")
    into.mkdir()
    unpack(blob, diff_id, into)
    return diff_id


def _inspected(blob: Path, diff_id: str) -> str:
    read_layer(blob, diff_id, 0, Tree(), "base:1, layer 1")
    return diff_id


def _compared(blob: Path, diff_id: str) -> str:
    read_to_compare(blob, digest(blob.read_bytes()), lambda _: True)
    return diff_id


READERS: dict[str, Reader] = {
    "assembled": _copied,
    "unpacked": _unpacked,
    "inspected": _inspected,
    "compared": _compared,
    "listed": lambda blob, _: read_listing(blob)[0],
}
"""Each raises one of :data:`REFUSALS`, or gives the digest of the tar stream; all but the first read its members."""
