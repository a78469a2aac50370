"""What writing a layer gives, whichever kind it is: digests and sizes. A value, made by ``layer`` and ``base``."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LayerResult"]


class LayerResult(NamedTuple):
    """A layer as written: see :class:`~.blob.BlobResult`; ``warnings`` are for the user."""

    digest: str
    size: int
    diff_id: str
    diff_size: int
    listing: dict[str, str]
    warnings: tuple[str, ...] = ()
