"""Hash everything again, and check that what refers to bytes refers to bytes that are there.

What is corrupt is named and moved aside into ``corrupt/``; because a realisation without its blobs counts as absent,
the next build makes it again. Never deletes, never repairs by guessing.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.errors import StoreError
from ..kernel.reporting import Progress, Reporter
from . import layout, locks
from .checked import set_aside
from .files import hash_file, storing
from .realisations import ImageRealisation, LayerRealisation, decode
from .sealed import Examiner
from .session import Session
from .verify_trees import Tree, unpacked_trees, verify_tree
from .verify_trees import total as total_of

if TYPE_CHECKING:
    from .contents import Contents

__all__ = ["Finding", "Verification", "verify"]

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong: ``path`` in the store, ``problem`` in words, ``moved`` where it is now (``None``: left)."""

    path: Path
    problem: str
    moved: Path | None = None

    def __str__(self) -> str:
        where = f"; moved to {self.moved}" if self.moved else ""
        return f"{self.path}: {self.problem}{where}"


@dataclass(frozen=True, slots=True)
class Verification:
    """How much was hashed, and what was found wrong (sorted by path). ``trees``: unpacked images and layers, whose
    files are not among ``files``."""

    files: int
    size: int
    findings: tuple[Finding, ...]
    trees: int = 0

    @property
    def ok(self) -> bool:
        return not self.findings


def verify(store: Contents, reporter: Reporter) -> Verification:
    """Check ``store`` whole. Raises :class:`StoreError` only where it cannot be read at all."""
    if store.unswept():
        with suppress(StoreError), closing(Session(store)):
            pass
    with store.reading():
        named = [*_named(store.artifacts), *_named(store.blobs)]
        total = sum(size for _, size in named)
        with reporter.work("verify the store", total, unit="bytes") as progress:
            hashed = _hash_all(store, named, _Locked(progress))
        others = [*_check_realisations(store), *_check_images(store), *_check_index(store)]
        trees = unpacked_trees(store)
        with reporter.work("verify unpacked images", total_of(trees), unit="bytes") as progress:
            unpacked = _check_trees(store, trees, _Locked(progress))
        findings = sorted([*hashed, *others, *unpacked], key=lambda f: str(f.path))
    return Verification(len(named), total, tuple(findings), len(trees))


def _check_trees(store: Contents, trees: list[Tree], progress: _Locked) -> list[Finding]:
    examiner = Examiner()
    found = [(tree.path, verify_tree(store, tree, examiner, progress.advance)) for tree in trees]
    return [Finding(path, damage.problem, damage.moved) for path, damage in found if damage]


class _Locked:
    """A progress that several threads may advance."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._guard = threading.Lock()

    def advance(self, amount: int) -> None:
        with self._guard:
            self._progress.advance(amount)


def _named(folder: Path) -> list[tuple[Path, int]]:
    with storing(folder):
        if not folder.is_dir():
            return []
        return [(Path(e.path), e.stat().st_size) for e in sorted(os.scandir(folder), key=lambda e: e.name)]


def _hash_all(store: Contents, named: list[tuple[Path, int]], progress: _Locked) -> list[Finding]:
    def one(path: Path) -> Finding | None:
        if not _HEX.fullmatch(path.name):
            return Finding(path, "expected a file named by its SHA-256", _aside(store, path))
        try:
            found, size = hash_file(path, progress.advance)
        except OSError as e:
            return Finding(path, f"cannot be read: {e.strerror or e}", _aside(store, path))
        if found == path.name:
            return None
        return Finding(path, f"expected SHA-256 {path.name}, found {found} ({size} bytes)", _aside(store, path))

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return [finding for finding in pool.map(one, [path for path, _ in named]) if finding]


def _aside(store: Contents, path: Path) -> Path | None:
    return set_aside(store.root, path)


def _check_realisations(store: Contents) -> Iterator[Finding]:
    """Every realisation can be read, and points to blobs of the sizes it states."""
    for path, _ in _named(store.realisations):
        if path.suffix == ".derivation":
            if _HEX.fullmatch(path.stem) and store.derivation(f"sha256:{path.stem}") is None:
                yield Finding(path, "expected an image's derivation, found something else", _aside(store, path))
            continue
        found = decode(path.read_bytes()) if _HEX.fullmatch(path.stem) else None
        if found is None:
            yield Finding(path, "expected a realisation, found something else", _aside(store, path))
            continue
        if isinstance(found, LayerRealisation):
            digest, size = found.digest, found.size
        else:
            digest, size = found.manifest, found.size
        blob = store.blob(digest)
        if blob is None:
            yield Finding(path, f"its blob {digest} is not here", _aside(store, path))
        elif blob.stat().st_size != size:
            yield Finding(path, f"expected {size} bytes in {digest}, found {blob.stat().st_size}", _aside(store, path))
        elif isinstance(found, LayerRealisation):
            try:
                store.listing(f"sha256:{path.stem}")
            except StoreError as e:
                # Without its listing the layer cannot be checked against others: it is to be made again.
                _aside(store, path)
                yield Finding(path, e.message, _aside(store, store.listings / path.stem))


def _check_images(store: Contents) -> Iterator[Finding]:
    """Every realised image is whole: manifest, config, layers."""
    for path, _ in _named(store.realisations):
        if path.suffix != ".json":
            continue
        found = decode(path.read_bytes())
        if isinstance(found, ImageRealisation):
            for missing in _missing(store, found.manifest):
                yield Finding(path, f"the image needs {missing}, which is not here as stated", _aside(store, path))
                break


def _missing(store: Contents, digest: str) -> Iterator[str]:
    manifest = store.manifest(digest)
    if manifest is None:
        yield digest
        return
    try:
        references = layout.references(manifest)
    except layout.Malformed as e:
        yield f"{digest} ({e.message})"
        return
    for needed, size in references:
        if not store.blob(needed, size):
            yield needed


def _check_index(store: Contents) -> Iterator[Finding]:
    """``index.json`` is an index, and names nothing that is gone; our own broken entries are taken out."""
    path = store.oci / "index.json"
    if not path.is_file():
        return
    if layout.parse(path.read_bytes()) is None:
        yield Finding(path, "expected an OCI index, found something else", _aside(store, path))
        return
    for entry in layout.manifests(store.index()):
        name = layout.annotation(entry, layout.REF_NAME) or "an image without a name"
        if not isinstance(entry.get("digest"), str):
            yield Finding(path, f"{name}: expected a digest, found {entry.get('digest')!r}")
            continue
        try:
            gone = next(_missing(store, entry["digest"]), None)
        except ValueError as e:
            yield Finding(path, f"{name}: {e}")
            continue
        if gone is not None:
            removed = layout.annotation(entry, layout.DERIVATION) is not None and _untag(store, entry)
            done = "; the name was taken out" if removed else ""
            yield Finding(path, f"{name} needs {gone}, which is not here as stated{done}")


def _untag(store: Contents, entry: layout.Document) -> bool:
    try:
        with closing(Session(store)) as session, locks.held(store.locks / "index"):
            index = store.index()
            rest = [m for m in layout.manifests(index) if m != entry]
            session.put_index({**index, "manifests": rest})
    except StoreError:
        return False
    return True
