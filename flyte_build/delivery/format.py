"""A bundle's index: what one file for another site holds, in which order. Values and their JSON; no I/O.

A bundle is a plain tar of regular files. The first one, ``index.json``, names all others with size and SHA-256, in
their order; nothing else follows them but the end of the archive. ``docs/delivery.md`` is the format's description.

    index.json                  {"kind", "schema", "images", "entries"}
    locks/<environment>.json    the locks
    derivations/<hex>           each image's derivation, in canonical JSON: its SHA-256 is the derivation's hash
    modules/<hex>.json          without artifacts, which modules each wheel has: what checks before a build want to know
    artifacts/<hex>             wheels, .debs, copied files
    blobs/<hex>                 manifests, configurations, layers
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NoReturn

from ..kernel.canonical import Json, canonical
from ..kernel.errors import ArtifactError, InputError

__all__ = ["INDEX", "KIND", "LIMIT", "SCHEMA", "BundledImage", "Entry", "Index", "parse_index", "path_of"]

KIND = "flyte-build bundle"
SCHEMA = 1
INDEX = "index.json"
LIMIT = 64 << 20
"""Bytes that an index, a lock, a derivation or a list of modules may have: they are read into memory."""

_HEX = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?")
# One component of a path, whatever the system: no separators, no control characters, not hidden.
_ENVIRONMENT = re.compile(r"[^/\\.\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,199}")
# In the order of the file: what is small and may make all the rest pointless comes first.
_FOLDERS = ("locks", "derivations", "modules", "artifacts", "blobs")
_IN_MEMORY = ("locks", "derivations", "modules")
_NAMED_JSON = ("locks", "modules")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a bundle: ``size`` in bytes, ``sha256`` in hex."""

    path: str
    size: int
    sha256: str

    @property
    def folder(self) -> str:
        return self.path.partition("/")[0]

    @property
    def name(self) -> str:
        """A hash in hex, or for a lock its environment."""
        return self.path.partition("/")[2].removesuffix(".json")


@dataclass(frozen=True, slots=True)
class BundledImage:
    """An image that the bundle is for; ``manifest`` is its digest, ``None`` where the bundle holds no images."""

    environment: str
    platform: str
    derivation: str
    manifest: str | None


@dataclass(frozen=True, slots=True)
class Index:
    """What a bundle holds. ``entries`` without the index itself, in the order of the file."""

    images: tuple[BundledImage, ...]
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, images: Iterable[BundledImage], entries: Iterable[Entry]) -> Index:
        """Everything in its order, once."""
        ordered = sorted(set(images), key=lambda i: (i.environment, i.platform, i.derivation))
        return cls(tuple(ordered), tuple(sorted(set(entries), key=_order)))

    @property
    def environments(self) -> list[str]:
        return sorted({image.environment for image in self.images})

    @property
    def platforms(self) -> list[str]:
        return sorted({image.platform for image in self.images})

    def within(self, folder: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.folder == folder]

    def to_bytes(self) -> bytes:
        """One image and one entry a line, for whoever looks into the file."""
        images: list[Json] = [
            {"environment": i.environment, "platform": i.platform, "derivation": i.derivation, "manifest": i.manifest}
            for i in self.images
        ]
        entries: list[Json] = [{"path": e.path, "size": e.size, "sha256": e.sha256} for e in self.entries]
        head = f'{{"kind":{json.dumps(KIND)},"schema":{SCHEMA},\n'.encode()
        return head + b'"images":[\n' + _rows(images) + b'],\n"entries":[\n' + _rows(entries) + b"]}\n"


def path_of(folder: str, name: str) -> str:
    """Where the lock of an environment, or the file with a hash in hex, lies in a bundle."""
    return f"{folder}/{name}.json" if folder in _NAMED_JSON else f"{folder}/{name}"


def parse_index(data: bytes, where: str) -> Index:
    """The index in ``data`` of the bundle ``where``, checked whole.

    Raises :class:`InputError` for what is no bundle or is of a later schema, and :class:`ArtifactError` for an index
    that is not consistent.
    """
    try:
        raw: Any = json.loads(data)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict) or raw.get("kind") != KIND:
        raise InputError(f"{where}: expected a bundle, found an archive without a bundle's {INDEX}")
    if raw.get("schema") != SCHEMA:
        raise InputError(
            f"{where}: expected a bundle of schema {SCHEMA}, found {raw.get('schema')!r}",
            hint="it was written by another version of flyte-build: use that one here, too",
        )
    checked = _Checked(where)
    checked.keys(raw, "kind", "schema", "images", "entries")
    index = Index(
        tuple(checked.image(row) for row in checked.rows(raw, "images")),
        tuple(checked.entry(row) for row in checked.rows(raw, "entries")),
    )
    checked.whole(index)
    return index


class _Checked:
    """Values of an index, each what it must be."""

    def __init__(self, where: str) -> None:
        self._where = where

    def rows(self, raw: dict[str, Any], key: str) -> list[Any]:
        found = raw.get(key)
        return found if isinstance(found, list) and found else self.fail(f"{key} to be a list", found)

    def keys(self, row: Any, *known: str) -> None:
        """None is left unread: a ``manifest`` under another name would be an image that nobody looks for."""
        if isinstance(row, dict) and (others := sorted(row.keys() - set(known))):
            self.fail(f"no keys but {', '.join(known)}", others[0])

    def image(self, row: Any) -> BundledImage:
        self.keys(row, "environment", "platform", "derivation", "manifest")
        manifest = self._field(row, "manifest", _DIGEST, "a digest") if _get(row, "manifest") is not None else None
        return BundledImage(
            self._field(row, "environment", _ENVIRONMENT, "an environment's name"),
            self._field(row, "platform", _PLATFORM, "a platform"),
            self._field(row, "derivation", _DIGEST, "a digest"),
            manifest,
        )

    def entry(self, row: Any) -> Entry:
        self.keys(row, "path", "size", "sha256")
        path = _get(row, "path")
        folder, _, name = path.partition("/") if isinstance(path, str) else ("", "", "")
        if folder in _NAMED_JSON:
            named = _ENVIRONMENT if folder == "locks" else _HEX
            good = name.endswith(".json") and named.fullmatch(name[:-5]) is not None
        else:
            good = folder in _FOLDERS and _HEX.fullmatch(name) is not None
        if not good:
            self.fail("the path of a lock, a derivation, an artifact or a blob", path)
        sha256 = self._field(row, "sha256", _HEX, "a SHA-256 in hex")
        if folder not in _NAMED_JSON and name != sha256:
            self.fail(f"SHA-256 {name} for {path}", sha256)
        size = row.get("size")
        if type(size) is not int or size < 0 or (folder in _IN_MEMORY and size > LIMIT):
            self.fail(f"a size in bytes for {path}", size)
        return Entry(str(path), size, sha256)

    def whole(self, index: Index) -> None:
        """Everything is there that the images need to be understood, once and in order."""
        if list(index.entries) != sorted(index.entries, key=_order):
            self.fail("entries in their order", "another one")
        paths = [entry.path for entry in index.entries]
        for before, after in pairwise(paths):
            if before == after:
                self.fail("every entry once", before)
        keys = [(image.environment, image.platform) for image in index.images]
        if len(set(keys)) != len(keys):
            self.fail("one image for an environment and a platform", "two")
        there = set(paths)
        for image in index.images:
            needed = [path_of("locks", image.environment), path_of("derivations", image.derivation[7:])]
            if image.manifest is not None:
                needed.append(path_of("blobs", image.manifest[7:]))
            for path in needed:
                if path not in there:
                    self.fail(f"the entry {path}", None)

    def _field(self, row: Any, key: str, pattern: re.Pattern[str], expected: str) -> str:
        found = _get(row, key)
        return found if isinstance(found, str) and pattern.fullmatch(found) else self.fail(expected, found)

    def fail(self, expected: str, found: object) -> NoReturn:
        shown = repr(found) if len(repr(found)) <= 80 else repr(found)[:77] + "..."
        raise ArtifactError(
            f"{self._where}: {INDEX}: expected {expected}, found {shown}", hint="have the bundle made and sent again"
        )


def _get(row: Any, key: str) -> Any:
    return row.get(key) if isinstance(row, dict) else None


def _order(entry: Entry) -> tuple[int, str]:
    return _FOLDERS.index(entry.folder), entry.path


def _rows(rows: Iterable[Json]) -> bytes:
    return b",\n".join(canonical(row) for row in rows) + b"\n"
