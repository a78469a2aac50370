"""A part of a locked wheel where configuration says that it lies, without fetching it whole.

What is read so decides what is said to a person, never which bytes are installed: those are hashed.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ..deriving.nouns import Artifact
from ..kernel.errors import FlyteBuildError

if TYPE_CHECKING:
    from ..locks.nouns import LockedWheel
    from .places import Locator, Place

__all__ = ["Peeked", "Reader", "metadata_of", "peek"]

Peeked: TypeAlias = "str | list[str]"
Reader: TypeAlias = "Callable[[int, bytes, Callable[[int, int], bytes]], Peeked]"
"""Of :mod:`.indexes.metadata`: a zip's size, its tail, and a way to other bytes of it → what is wanted."""

_TAIL = 64 << 10
_WHOLE = 8 << 20


def metadata_of(locator: Locator, wheel: LockedWheel) -> str | None:
    """METADATA's text of ``wheel``; ``None`` where nobody has it, or what there is is not what was locked."""
    from .indexes.metadata import from_archive

    try:
        for place in locator.places(Artifact(wheel.sha256, wheel.size, wheel.file, wheel)):
            found = peek(place, wheel, from_archive)
            if isinstance(found, str):
                return found
    except FlyteBuildError:
        return None
    return None


def peek(place: Place, wheel: LockedWheel, reader: Reader) -> Peeked | None:
    """What ``reader`` makes of the wheel at ``place``; ``None`` where it cannot be had there, or is not the one locked.

    A local file is hashed first. Of a remote one the size has to be the locked one's.
    """
    if place.stream is None:
        return _local(Path(url2pathname(urlsplit(place.url).path)), wheel, reader)
    import httpx

    def read_range(start: int, stop: int) -> bytes:
        assert place.stream is not None
        asked = {"range": f"bytes={start}-{stop - 1}", "accept-encoding": "identity"}
        with place.stream(place.url, asked) as response:
            if response.status_code == 206:
                if response.headers.get("content-range") != f"bytes {start}-{stop - 1}/{wheel.size}":
                    raise zipfile.BadZipFile("another file than the one that was locked")
                return response.read()
            if response.status_code != 200 or wheel.size > _WHOLE:
                raise zipfile.BadZipFile(f"status {response.status_code}")
            whole = response.read()
        if len(whole) != wheel.size:
            raise zipfile.BadZipFile(f"expected {wheel.size} bytes, found {len(whole)}")
        return whole[start:stop]

    try:
        return reader(wheel.size, read_range(max(0, wheel.size - _TAIL), wheel.size), read_range)
    except (zipfile.BadZipFile, KeyError, httpx.HTTPError, httpx.InvalidURL, FlyteBuildError, OSError, EOFError):
        return None


def _local(path: Path, wheel: LockedWheel, reader: Reader) -> Peeked | None:
    from ..store.files import hash_file

    try:
        if hash_file(path) != (wheel.sha256, wheel.size):
            return None
        with open(path, "rb") as file:

            def read_range(start: int, stop: int) -> bytes:
                file.seek(start)
                return file.read(stop - start)

            return reader(wheel.size, read_range(max(0, wheel.size - _TAIL), wheel.size), read_range)
    except (OSError, KeyError, zipfile.BadZipFile, EOFError):
        return None
