"""What tasks hand in over the protocol: the inputs and the code of runs that they start, and files.

A task asks for a place, is told where to put the bytes and by which URI tasks have them, and puts them. Code lies with
the run's other bundles, files in its ``kept``, where no sandbox can write. What arrives is kept under a name made here,
whole or not at all, and once: what has a URI does not change.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import zlib

from flyteidl2.dataproxy import dataproxy_service_pb2 as pb

from ...kernel.values import dataclass, field
from ..attempt import RunFacts
from ..request_decoding import LARGEST
from .stash import Stash

__all__ = ["Place", "Uploads"]

_CODE = (".tar.gz", ".tgz", ".pkl.gz")
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._ -]{0,199}")
_MOST_CODE = 1 << 30  # bytes of a bundle's tar that are read to know what it is
_MOST_PLACES = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where an upload goes: its ``uri`` for tasks, its MD5, and whether it is ``code``."""

    uri: str
    md5: bytes
    code: bool


@dataclass(frozen=True, slots=True)
class Uploads:
    """Those of one run, whose code is noted in ``facts``, in its ``stash``."""

    facts: RunFacts
    stash: Stash
    _places: dict[str, Place] = field(default_factory=dict)

    def place(self, request: pb.CreateUploadLocationRequest) -> tuple[str, str]:
        """A key to upload with, and the URI that the upload will have. Raises ValueError for names that are none."""
        md5, name, prefix = request.content_md5, request.filename, request.filename_root
        if len(md5) != 16:
            raise ValueError("expected the MD5 of what is uploaded, 16 bytes")
        if not _PART.fullmatch(name) or (prefix and not _PART.fullmatch(prefix)):
            raise ValueError(f"expected a file's plain name, found {name!r:.80} in {prefix!r:.80}")
        if len(self._places) >= _MOST_PLACES:
            raise ValueError(f"expected at most {_MOST_PLACES:,} uploads of a run")
        folder = self.facts.folder
        if name.endswith(_CODE) and not prefix:
            # By its content alone: its name is in every child's arguments, and those are in their ids.
            suffix = next(s for s in _CODE if name.endswith(s))
            place = Place(self.stash.code(f"{md5.hex()}{suffix}"), md5, True)
        else:
            uri = folder.storage.uri(folder.kept / "uploads" / (prefix or md5.hex()) / name)
            place = Place(uri, md5, False)
        key = hashlib.sha256(place.uri.encode()).hexdigest()
        self._places[key] = place
        return key, place.uri

    async def known(self, uri: str) -> None:
        """Know the code that was put at ``uri`` without us, before it is run. Raises OSError, ValueError for other
        bytes than were announced."""
        place = self._places.get(hashlib.sha256(uri.encode()).hexdigest())
        if place is not None and place.code and uri not in self.facts.bundles:
            await self._keep(place, await self.stash.read(uri), there=True)

    async def put(self, key: str, data: bytes) -> None:
        """Keep an upload. Raises KeyError for a key that nobody was given, ValueError for other bytes, OSError."""
        await self._keep(self._places[key], data)

    async def _keep(self, place: Place, data: bytes, *, there: bool = False) -> None:
        if hashlib.md5(data, usedforsecurity=False).digest() != place.md5:
            raise ValueError("expected the bytes with the MD5 that was announced, found others")
        if not there:
            await self.stash.keep(place.uri, data)
        if place.code and place.uri not in self.facts.bundles:
            code = await asyncio.to_thread(_code, data)
            await self.stash.remember({"code": {"uri": place.uri, "digest": code}})
            self.facts.bundles.setdefault(place.uri, code)

    async def inputs(self, data: bytes) -> tuple[str, str]:
        """Leave inputs where a task of the run could have: their URI, and a hash of them."""
        found = hashlib.sha256(data).hexdigest()
        folder = self.facts.folder
        if len(data) > LARGEST:
            raise ValueError(f"expected at most {LARGEST} bytes of inputs, found {len(data)}")
        uri = folder.storage.uri(folder.meta / f"inputs-{found[:40]}" / "inputs.pb")
        await self.stash.keep(uri, data, anew=True)
        return uri, found


def _code(data: bytes) -> str:
    """The digest of what is in a bundle, as of the run's own; of its bytes where that cannot be read."""
    try:
        inflater, plain = zlib.decompressobj(31), hashlib.sha256()
        size, rest = 0, data
        while rest and not inflater.eof:
            block = inflater.decompress(rest, 1 << 20)
            size += len(block)
            if size > _MOST_CODE:
                raise gzip.BadGzipFile("more than is read")
            plain.update(block)
            rest = inflater.unconsumed_tail
        if not inflater.eof or inflater.unused_data:
            raise gzip.BadGzipFile("no end")
    except (zlib.error, OSError):
        return f"sha256:{hashlib.sha256(data).hexdigest()}"
    return f"sha256:{plain.hexdigest()}"
