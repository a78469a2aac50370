"""Layer kinds ``base`` and ``sealed``: a layer that was made elsewhere (by somebody else, or by a sealed step when the
image was locked). It is taken as it is, or not at all.

Nothing is written anew, so nothing of the base's bytes can change: a blob is held against its digest and size, what it
unpacks to against its diff_id. zstd is not in every Python that runs this, so what such a blob unpacks to goes unread.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from .bombs import most_inflated
from .errors import AssembleError
from .results import LayerResult

__all__ = ["base_result", "copy_base"]

_CHUNK = 1 << 20
_PIECE = 32 << 10


def base_result(spec: Mapping[str, Any]) -> LayerResult:
    """What the plan knows of the layer without its bytes. The size of its tar stream is not known: 0."""
    return LayerResult(spec["digest"], spec["size"], spec["diff_id"], 0, {})


def copy_base(
    spec: Mapping[str, Any], blob: BinaryIO, out: BinaryIO, progress: Callable[[int], object] | None = None
) -> LayerResult:
    """Copy the layer's ``blob`` to ``out``; raises :class:`AssembleError` where it is not the one in the plan.

    ``progress`` is told bytes of the tar stream.
    """
    title = str(spec["title"])
    gzip = spec["media_type"].endswith("+gzip")
    inflating = _Inflating() if gzip else None
    most = most_inflated(spec["size"])
    hashed, unpacked, size, diff_size = hashlib.sha256(), hashlib.sha256(), 0, 0
    while data := blob.read(_CHUNK):
        hashed.update(data)
        size += len(data)
        if size > spec["size"]:
            raise AssembleError(f"expected {spec['size']} bytes with {spec['digest']}, found more", title)
        out.write(data)
        for plain in inflating.feed(data, title) if inflating is not None else (data,):
            unpacked.update(plain)
            diff_size += len(plain)
            if diff_size > most:
                raise AssembleError(f"its {spec['size']} bytes unpack to more than {most}: a bomb", title)
            if progress is not None:
                progress(len(plain))
    if inflating is not None:
        inflating.close(title)
    found = f"sha256:{hashed.hexdigest()}"
    if (found, size) != (spec["digest"], spec["size"]):
        raise AssembleError(f"expected {spec['size']} bytes with {spec['digest']}, found {size} with {found}", title)
    diff_id = f"sha256:{unpacked.hexdigest()}"
    if diff_id != spec["diff_id"] and not spec["media_type"].endswith("+zstd"):
        raise AssembleError(f"expected the diff_id {spec['diff_id']}, found {diff_id}", title)
    return LayerResult(spec["digest"], size, spec["diff_id"], diff_size, {})


class _Inflating:
    """gzip of any number of members (RFC 1952), fed as it comes."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(31)
        self._begun = False

    def feed(self, data: bytes, title: str) -> Iterator[bytes]:
        """What ``data`` inflates to, in pieces: a megabyte in can be a gigabyte out, and is never held as one."""
        view = memoryview(data)
        # A member's end copies what is left of the piece: pieces are short, so that many tiny members stay cheap.
        for at in range(0, len(data), _PIECE):
            yield from self._piece(view[at : at + _PIECE], title)

    def _piece(self, rest: bytes | memoryview, title: str) -> Iterator[bytes]:
        while True:
            if self._member.eof:
                if not rest:
                    return
                self._member, self._begun = zlib.decompressobj(31), False
            try:
                plain = self._member.decompress(rest, _CHUNK)
            except zlib.error as e:
                raise AssembleError(f"is no gzip stream: {e}", title) from None
            self._begun = True
            yield plain
            # After a member's end zlib keeps an `unconsumed_tail` too: only the unused data are the next one's.
            rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if not rest and not self._member.eof and len(plain) < _CHUNK:
                return  # a full chunk may leave more in the decompressor itself

    def close(self, title: str) -> None:
        if not self._begun or not self._member.eof:
            raise AssembleError("the gzip stream ends before its end: truncated", title)
