"""What writing a layer gives, whichever kind it is: digests and sizes, made by ``layer`` and ``base``; and the line on
two layers, or two sources of one, that have a path in common."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LayerResult", "overlap"]


class LayerResult(NamedTuple):
    """A layer as written: see :class:`~.blob.BlobResult`; ``warnings`` are for the user."""

    digest: str
    size: int
    diff_id: str
    diff_size: int
    listing: dict[str, str]
    warnings: tuple[str, ...] = ()


def overlap(paths: list[str], below: str, above: str) -> str:
    """The line that says whose files count where two distributions have the same."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"`{min(paths)}`{more} of {below} and of {above} are not the same; those of {above} are in the image"
