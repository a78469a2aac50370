"""A layer's blob → its zTOC: the files in it, and where reading can begin (SOCI's ``ztoc.fbs``, version 0.9).

A checkpoint is two offsets, a count of bits and a window of 32 KiB, little-endian; ours are all at whole bytes with
nothing in their windows. The same blob gives the same bytes. Whoever hands in a layer has seen to its digest.
"""

from __future__ import annotations

import hashlib
import struct
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from ..kernel.layer_tar import BadLayer, LayerTar
from .flatbuffer import Bytes, Scalar, Table, Value, encode
from .spans import SPAN, Foreign, Span, members, spans

__all__ = ["TOOL", "ztoc"]

VERSION = "0.9"
TOOL = "flyte-build"
_WINDOW = bytes(32 << 10)
_GZIP = 1
_KINDS = {
    tarfile.REGTYPE: "reg",
    tarfile.AREGTYPE: "reg",
    tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
}
# The snapshotter counts the bytes of a span in a C `int`.
_MOST = (1 << 31) - 1


def ztoc(blob: Path, *, span: int = SPAN) -> bytes | None:
    """The zTOC of the layer in ``blob``, with spans of ``span`` bytes of tar or more.

    ``None`` for a layer that cannot be read in parts: one span has all of it, or more than a snapshotter takes, or the
    blob is not made of members as ours are.
    """
    size = blob.stat().st_size
    try:
        with open(blob, "rb") as raw:
            found, plain = spans(members(raw), span)
        edges = [*(s.compressed for s in found), size]
        if len(found) < 2 or any(b - a > _MOST for a, b in pairwise(edges)):
            return None
        with open(blob, "rb") as raw:
            files = _files(LayerTar(raw, compressed=True, limit=plain))
    except (Foreign, BadLayer):
        return None
    info = Table((
        Scalar("b", _GZIP),
        Scalar("i", len(found) - 1),
        _digests(blob, edges),
        Bytes(_checkpoints(found, span)),
    ))  # fmt: skip
    return encode(Table((VERSION, TOOL, Scalar("q", size), Scalar("q", plain), Table((files,)), info)))


def _checkpoints(found: Sequence[Span], span: int) -> bytes:
    rows = (struct.pack("<qqB", s.compressed, s.plain, 0) + _WINDOW for s in found)
    return struct.pack("<iq", len(found), span) + b"".join(rows)


def _digests(blob: Path, edges: Sequence[int]) -> list[Value]:
    """Of the compressed bytes of each span, whose end is where the next one's stream begins."""
    out: list[Value] = []
    with open(blob, "rb") as raw:
        for start, end in pairwise(edges):
            raw.seek(start)
            digest, left = hashlib.sha256(), end - start
            while left and (piece := raw.read(min(left, 1 << 20))):
                digest.update(piece)
                left -= len(piece)
            out.append(f"sha256:{digest.hexdigest()}")
    return out


def _files(tar: LayerTar) -> list[Value]:
    rows: list[Value] = []
    for member, _, _ in tar.members():
        kind = _KINDS.get(member.type)
        if kind is None:
            raise Foreign(f"`{member.name}` is of the type {member.type!r}")
        records: list[Value] = [Table((key, str(value))) for key, value in sorted(member.pax_headers.items())]
        when = datetime.fromtimestamp(int(member.mtime), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        rows.append(
            Table((
                member.name + ("/" if kind == "dir" else ""),
                kind,
                Scalar("q", member.offset_data),
                Scalar("q", member.size if kind == "reg" else 0),
                member.linkname,
                Scalar("q", member.mode),
                Scalar("I", member.uid),
                Scalar("I", member.gid),
                member.uname,
                member.gname,
                when,
                Scalar("q", 0),
                Scalar("q", 0),
                records,
            ))
        )  # fmt: skip
    return rows
