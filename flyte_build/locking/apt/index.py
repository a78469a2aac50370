"""``Packages`` indices: verified, cached by their hash, and read lazily.

A suite's index is 50 MB of text for 60,000 packages, of which a lock needs a few hundred. Parsing it whole with
python-debian takes about 7 s and with the fastest loop of our own 0.8 s; finding where each stanza begins
takes 0.1 s, and only the stanzas that the solver looks at are parsed. The cache holds the text as the
signed Release file lists it, so a cached index is verified by the very sum that a fetched one is. Of the forms that
an archive offers gzip is taken first: it is a third larger than xz, and read in a sixth of the time.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import lzma
import os
import re
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import httpx
from isal import isal_zlib

from ...kernel.errors import FetchError
from ...kernel.stanzas import stanzas
from .download import NotOffered, get, shown
from .package import Package, parse_package
from .release import IndexFile, Release

__all__ = ["Index", "fetch_index", "index_paths"]

_KEEP = 24
_STALE = 24 * 3600.0
_SUFFIXES = (".gz", ".xz", ".bz2", "")
_MEMORY = 6
# Bytes that reading an index may take; `xz -9` asks for 65 MiB.
_XZ_MEMORY = 200 << 20
_GZIP_DAMAGE = cast("type[Exception]", isal_zlib.error)
_PROVIDED = re.compile(r"(?:^|,)\s*([^\s,(:]+)")


class Index:
    """The packages of one ``Packages`` text, for one architecture of one archive."""

    def __init__(self, text: bytes, native: str, archive: str, what: str) -> None:
        self._text, self._native, self._archive, self._what = text, native, archive, what
        self._starts: dict[str, list[int]] = {}
        self._providers: dict[str, list[int]] = {}
        self._parsed: dict[int, Package] = {}
        self._essential: list[str] = []
        self._scan()

    def _scan(self) -> None:
        text = self._text
        at, end = 0, len(text)
        while at < end:
            if text.startswith(b"\n", at):
                at += 1
                continue
            stop = text.find(b"\n\n", at)
            stop = end if stop < 0 else stop
            line = text.find(b"\n", at, stop)
            if text.startswith(b"Package: ", at):
                name = text[at + 9 : stop if line < 0 else line].decode("ascii", "replace").strip()
                self._starts.setdefault(name, []).append(at)
                provides = text.find(b"\nProvides: ", at, stop)
                if provides >= 0:
                    self._note_provides(provides + 11, at, stop)
            else:
                raise FetchError(f"{self._what}: expected `Package:` at byte {at}, found {text[at : at + 40]!r}")
            at = stop + 2
        found = -1
        while (found := text.find(b"\nEssential: yes", found + 1)) >= 0:
            begin = text.rfind(b"\n\n", 0, found)
            at = text.find(b"Package: ", begin + 2 if begin >= 0 else 0) + 9
            self._essential.append(text[at : text.find(b"\n", at)].decode("ascii", "replace").strip())

    def _note_provides(self, at: int, stanza: int, stop: int) -> None:
        line = self._text.find(b"\n", at, stop)
        value = self._text[at : stop if line < 0 else line].decode("ascii", "replace")
        for name in dict.fromkeys(_PROVIDED.findall(value)):
            self._providers.setdefault(name, []).append(stanza)

    @property
    def names(self) -> frozenset[str]:
        """The names of all packages (not of what they provide)."""
        return frozenset(self._starts)

    @property
    def essential(self) -> tuple[str, ...]:
        """The names of the packages marked Essential."""
        return tuple(self._essential)

    def versions(self, name: str) -> list[Package]:
        """All packages called ``name``, in the index's order."""
        return [self._package(at) for at in self._starts.get(name, ())]

    def providers(self, name: str) -> list[Package]:
        """All packages that provide ``name``."""
        return [self._package(at) for at in self._providers.get(name, ())]

    def _package(self, at: int) -> Package:
        found = self._parsed.get(at)
        if found is None:
            stop = self._text.find(b"\n\n", at)
            stanza = self._text[at : len(self._text) if stop < 0 else stop]
            try:
                found = parse_package(next(stanzas(stanza)), self._native, self._archive)
            except (KeyError, ValueError, StopIteration) as e:
                raise FetchError(f"{self._what}: the stanza at byte {at} is malformed: {e}") from None
            self._parsed[at] = found
        return found


def index_paths(release: Release, component: str, architecture: str) -> list[str]:
    """The paths (without compression suffix) of the indices that hold ``architecture``'s packages.

    ``binary-all`` is one of its own only where the Release file does not say that the others contain it.
    """
    if component not in release.components or architecture not in release.architectures:
        raise FetchError(
            f"{shown(release.url)}: expected the component {component} for {architecture}, found "
            f"{' '.join(release.components)} for {' '.join(release.architectures)}",
            hint="use a mirror that carries the architecture",
        )
    paths = [f"{component}/binary-{architecture}/Packages"]
    everything = f"{component}/binary-all/Packages"
    if release.all_apart and any(everything + suffix in release.files for suffix in _SUFFIXES):
        paths.append(everything)
    return paths


def fetch_index(
    client: httpx.Client,
    release: Release,
    path: str,
    architecture: str,
    cache: Path,
    stop: threading.Event | None = None,
) -> Index:
    """The index at ``path`` of ``release``: from ``cache`` when it is there and whole, else fetched and kept.
    Once ``stop`` is set, nobody waits for it any more.

    Raises :class:`FetchError` when size or SHA-256 are not those of the Release file.
    """
    plain = release.files.get(path)
    key = (plain.sha256 if plain else "", architecture, release.mirror.archive)
    with _lock:
        if plain is not None and key in _scanned:
            _scanned.move_to_end(key)
            return _scanned[key]
    text = _cached(cache / plain.sha256, plain) if plain else None
    if text is None:
        text = _fetch(client, release, path, plain, stop)
        if plain is not None:
            _keep(cache / plain.sha256, text)
    index = Index(text, architecture, release.mirror.archive, f"{shown(release.url)}/{path}")
    if plain is not None:
        with _lock:
            _scanned[key] = index
            while len(_scanned) > _MEMORY:
                _scanned.popitem(last=False)
    return index


# Scanned indices by the SHA-256 of their text: one process locks several environments from the same state.
_scanned: OrderedDict[tuple[str, str, str], Index] = OrderedDict()
_lock = threading.Lock()


def _fetch(
    client: httpx.Client, release: Release, path: str, plain: IndexFile | None, stop: threading.Event | None
) -> bytes:
    offered = [(release.files[path + s], s) for s in _SUFFIXES if path + s in release.files]
    missing: NotOffered | None = None
    for file, suffix in offered:
        try:
            data = _get(client, release, file, stop)
        except NotOffered as e:
            missing = missing or e
            continue
        what = f"{shown(release.url)}/{file.path}"
        text = _decompress(data, suffix, what, plain.size if plain else 1 << 30)
        if plain is not None:
            _check(text, plain, f"{what}, decompressed")
        return text
    raise missing or FetchError(f"{shown(release.url)}: expected the index {path}, found none in the Release file")


def _get(client: httpx.Client, release: Release, file: IndexFile, stop: threading.Event | None) -> bytes:
    folder = file.path.rsplit("/", 1)[0]
    urls = [f"{release.url}/{folder}/by-hash/SHA256/{file.sha256}"] if release.by_hash else []
    urls.append(f"{release.url}/{file.path}")
    for url in urls:
        try:
            data = get(client, url, limit=file.size, stop=stop)
        except NotOffered:
            if url == urls[-1]:
                raise
            continue
        _check(data, file, f"GET {shown(url)}")
        return data
    raise AssertionError("unreachable")


def _check(data: bytes, file: IndexFile, what: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if len(data) != file.size or found != file.sha256:
        raise FetchError(
            f"{what}: expected {file.size} bytes with SHA-256 {file.sha256}, found {len(data)} with {found}",
            hint="the mirror is being updated or was tampered with; try again later, or another mirror",
        )


def _decompress(data: bytes, suffix: str, what: str, limit: int) -> bytes:
    try:
        with _opened(data, suffix, limit) as stream:
            text = stream.read(limit + 1)
    except (OSError, EOFError, lzma.LZMAError, _GZIP_DAMAGE, MemoryError) as e:
        raise FetchError(f"{what}: cannot be decompressed: {e}") from None
    if len(text) > limit:
        raise FetchError(f"{what}: expected at most {limit} bytes when decompressed, found more")
    return text


def _opened(data: bytes, suffix: str, limit: int) -> io.BufferedIOBase:
    raw = io.BytesIO(data)
    match suffix:
        case ".xz":
            return io.BytesIO(_unxz(data, limit + 1))
        case ".gz":
            return io.BytesIO(_gunzip(data, limit + 1))
        case ".bz2":
            return bz2.BZ2File(raw)
        case _:
            return raw


def _gunzip(data: bytes, most: int) -> bytes:
    """At most ``most`` bytes of what the gzip members in ``data`` hold."""
    out = b""
    while data and len(out) < most:
        member = isal_zlib.decompressobj(wbits=31)
        part = member.decompress(data, most - len(out))
        out = out + part if out else part
        if not member.eof and len(out) < most:
            raise EOFError("it ends before its member does")
        data = member.unused_data.lstrip(b"\0")
    return out


def _unxz(data: bytes, most: int) -> bytes:
    """At most ``most`` bytes of what the xz streams in ``data`` hold; memory is bounded, whatever their headers ask."""
    out = bytearray()
    while data and len(out) < most:
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        out += stream.decompress(data, most - len(out))
        if not stream.eof and len(out) < most:
            raise EOFError("it ends before its stream does")
        data = stream.unused_data.lstrip(b"\0")
    return bytes(out)


def _cached(path: Path, file: IndexFile) -> bytes | None:
    try:
        text = path.read_bytes()
    except OSError:
        return None
    if len(text) != file.size or hashlib.sha256(text).hexdigest() != file.sha256:
        return None
    with suppress(OSError):
        os.utime(path)
    return text


def _keep(path: Path, text: bytes) -> None:
    """Write whole or not at all; a cache that cannot be written costs time only. Nothing waits for the disk: what a
    crash leaves of it is told by its hash."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as f:
                f.write(text)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        for left in path.parent.glob(".new-*"):
            if time.time() - left.stat().st_mtime > _STALE:  # by whoever was killed meanwhile
                left.unlink(missing_ok=True)
        for old in sorted(_entries(path.parent), key=lambda p: p.stat().st_mtime, reverse=True)[_KEEP:]:
            old.unlink(missing_ok=True)


def _entries(folder: Path) -> Iterator[Path]:
    return (p for p in folder.iterdir() if re.fullmatch(r"[0-9a-f]{64}", p.name))
