"""The normal form between what is put into a layer (wheels, .debs, files) and how a layer is written.

A source turns its input into entries; the writer turns sorted entries into a tar stream and a gzip
blob. An entry's content is a tuple of segments, so that bytes which already lie compressed in a wheel
are never copied through memory:

- ``bytes``: fresh bytes, held in memory, encoded by our own encoder;
- :class:`Deflated`: a raw DEFLATE stream (RFC 1951) at an offset of a file, taken over byte for byte;
- :class:`Plain`: uncompressed bytes at an offset of a file.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

__all__ = ["Content", "Deflated", "Entry", "Hash", "Plain", "Segment"]

Hash: TypeAlias = tuple[str, bytes]
"""An algorithm that ``hashlib`` guarantees, and a digest."""


class Deflated(NamedTuple):
    """``csize`` bytes of DEFLATE at ``offset`` in ``path`` that inflate to ``size`` bytes with this CRC-32.

    ``hash``, where somebody vouched for one, is checked besides.
    """

    path: str
    offset: int
    csize: int
    size: int
    crc32: int
    hash: Hash | None = None


class Plain(NamedTuple):
    """``size`` bytes at ``offset`` in ``path``; ``crc32`` and ``hash`` are checked where they are known."""

    path: str
    offset: int
    size: int
    crc32: int | None = None
    hash: Hash | None = None


Segment: TypeAlias = bytes | Deflated | Plain
Content: TypeAlias = tuple[Segment, ...]


class Entry(NamedTuple):
    """One path of a layer.

    ``path`` is relative, without ``./``, a leading or a trailing slash; ``mode`` the permission bits
    (up to 0o7777); ``link`` the target of a symlink, or of a hard link the path it links to. ``xattrs`` are extended
    attributes, which only sealed layers have.
    """

    path: str
    kind: Literal["file", "dir", "symlink", "hardlink"]
    mode: int
    content: Content = ()
    link: str = ""
    uid: int = 0
    gid: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of content, uncompressed."""
        return sum(len(s) if isinstance(s, bytes) else s.size for s in self.content)
