"""Remove what no image used lately needs.

One rule: an image stays for ``keep_days`` days after its last use (a build or a run), with or without a name, and
with it everything that its derivation needs to be explained, exported or built upon: blobs, layers' realisations
and listings, artifacts. What a build began and did not end stays for a day (or ``keep_days``, if less), so that it
can go on. Images that somebody else named in ``index.json`` always stay. ``gc`` takes the store alone: it waits for
builds and runs, and they for it. Never removes bytes before the names that lead to them, so that a crash leaves
a valid store.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.errors import StoreError
from ..kernel.reporting import Reporter
from . import layout, locks
from .files import fsync_directory, publish, storing
from .realisations import ImageRealisation, LayerRealisation, decode
from .seal_files import find_listing
from .session import sweep

if TYPE_CHECKING:
    from .contents import Contents

__all__ = ["Collected", "collect"]

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed (or would be): images by name, number of files and folders, bytes freed; ``kept`` images."""

    images: tuple[str, ...]
    files: int
    freed: int
    kept: int
    dry_run: bool


@dataclass
class _Keep:
    """Everything reachable from the images that stay, by the hex of its name."""

    images: set[str] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)
    artifacts: set[str] = field(default_factory=set)
    manifests: set[str] = field(default_factory=set)


def collect(store: Contents, *, keep_days: float, dry_run: bool, reporter: Reporter, patience: float) -> Collected:
    """Collect garbage. ``patience``: seconds to wait for builds and runs, then :class:`StoreError`."""
    if keep_days < 0:
        raise ValueError(f"keep_days: expected 0 or more, found {keep_days}")
    if not store.locks.is_dir():
        return Collected((), 0, 0, 0, dry_run)

    def waiting() -> None:
        reporter.note("waiting for a build or a run that uses the store")

    try:
        with storing(store.locks):
            handle = locks.acquire(store.locks / "store", timeout=patience, waiting=waiting)
    except locks.Busy:
        raise StoreError(
            f"{store.root}: a build or a run is using the store",
            hint="run `flyte-build store gc` again when it has ended",
        ) from None
    try:
        with storing(store.root):
            return _collect(store, keep_days, dry_run, reporter)
    finally:
        os.close(handle)


def _collect(store: Contents, keep_days: float, dry_run: bool, reporter: Reporter) -> Collected:
    now = time.time()
    keep = _reachable(store, now - keep_days * _DAY)
    fresh = now - min(_DAY, keep_days * _DAY)
    _keep_unfinished(store, keep, fresh)
    tags = layout.manifests(store.index())
    gone = [m for m in tags if str(m.get("digest")).removeprefix("sha256:") not in keep.manifests]
    names = tuple(sorted(layout.annotation(m, layout.REF_NAME) or str(m.get("digest")) for m in gone))
    doomed = list(_doomed(store, keep, fresh))
    freed = 0
    with reporter.work("collect garbage", len(doomed)) as progress:
        if not dry_run:
            if gone:
                _untag(store, gone)
            with locks.held(store.locks / "tmp"):
                sweep(store)
        for path in doomed:
            freed += _size(path)
            if not dry_run:
                _remove(path)
            progress.advance()
    return Collected(names, len(doomed), freed, len(keep.images), dry_run)


def _reachable(store: Contents, since: float) -> _Keep:
    keep = _Keep()
    for path in _files(store.realisations):
        if path.suffix != ".json":
            continue
        found = decode(path.read_bytes())
        if not isinstance(found, ImageRealisation) or _last_use(store, path) < since:
            continue
        keep.images.add(path.stem)
        _keep_manifest(store, keep, found.manifest)
        record = store.derivation(f"sha256:{path.stem}") or {}
        for layer in record.get("layers", ()):
            keep.layers.add(layer["hash"].removeprefix("sha256:"))
            keep.artifacts.update(layer["artifacts"])
    for entry in layout.manifests(store.index()):
        if layout.annotation(entry, layout.DERIVATION) is None and isinstance(entry.get("digest"), str):
            _keep_manifest(store, keep, entry["digest"])
    return keep


def _last_use(store: Contents, realisation: Path) -> float:
    made = realisation.stat().st_mtime
    try:
        return max(made, (store.used / realisation.stem).stat().st_mtime)
    except FileNotFoundError:
        return made


def _keep_manifest(store: Contents, keep: _Keep, digest: str) -> None:
    """A manifest or index and all below it; of one that is malformed nothing is known to be."""
    waiting = [digest]
    while waiting:
        name = (here := waiting.pop()).removeprefix("sha256:")
        if name in keep.manifests:
            continue
        keep.manifests.add(name)
        keep.blobs.add(name)
        with suppress(ValueError):
            document = store.manifest(here) or {}
            keep.blobs.update(needed.removeprefix("sha256:") for needed, _ in layout.references(document))
            waiting += [entry["digest"] for entry in layout.manifests(document)]


def _keep_unfinished(store: Contents, keep: _Keep, fresh: float) -> None:
    """Layers made lately, whose image was perhaps never finished."""
    for path in _files(store.realisations):
        if path.suffix == ".json" and (path.stem in keep.layers or path.stat().st_mtime >= fresh):
            found = decode(path.read_bytes())
            if isinstance(found, LayerRealisation):
                keep.layers.add(path.stem)
                keep.blobs.add(found.digest.removeprefix("sha256:"))


def _doomed(store: Contents, keep: _Keep, fresh: float) -> Iterator[Path]:
    """What goes, names before bytes."""
    known = keep.images | keep.layers
    yield from (p for p in _files(store.realisations) if p.stem not in known)
    yield from (p for p in _files(store.listings) if p.name not in keep.layers)
    yield from (p for p in _files(store.used) if p.name not in keep.images)
    yield from _orphan_roots(store, keep)
    yield from (p for p in _files(store.blobs) if p.name not in keep.blobs)
    stale = [p for p in _files(store.artifacts) if p.name not in keep.artifacts and p.stat().st_mtime < fresh]
    gone = {p.name for p in stale}
    yield from (p for p in _files(store.checked) if p.name in gone or store.artifact(p.name) is None)
    yield from stale
    yield from (p for p in _files(store.partial) if p.stat().st_mtime < fresh)
    yield from _files(store.corrupt)
    # Nobody waits on a derivation while we hold the store alone, so its lock file can go.
    yield from (p for p in _files(store.locks) if len(p.name.rpartition("-")[2]) == 64)


def _orphan_roots(store: Contents, keep: _Keep) -> Iterator[Path]:
    """Unpacked images whose image goes, seals first; unpacked layers that are in no other; what is no tree's."""
    used = set[str]()
    for tree in _files(store.roots):
        listing = find_listing(tree) if tree.name in keep.manifests and tree.is_dir() else None
        used.update(name.removeprefix("sha256:") for name in (listing.layers if listing else ()))
    for folder, names in ((store.roots, keep.manifests), (store.layers, used)):
        gone = [p for p in _files(folder) if not _of_a_tree(p, names)]
        yield from sorted(gone, key=lambda p: p.is_dir())


def _of_a_tree(path: Path, names: set[str]) -> bool:
    """Whether it is a tree that stays, or lies beside one."""
    stem = path.name.partition(".")[0]
    return stem in names and (path.parent / stem).is_dir() and not path.name.endswith(".partial")


def _files(folder: Path) -> Iterable[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else ()


def _untag(store: Contents, gone: list[layout.Document]) -> None:
    with locks.held(store.locks / "index"):
        index = store.index()
        rest = [m for m in layout.manifests(index) if m not in gone]
        temporary = store.tmp / "session-index"
        temporary.write_bytes(layout.dump({**index, "manifests": rest}))
        publish(temporary, store.oci / "index.json", 0o644)
        fsync_directory(store.oci)


def _size(path: Path) -> int:
    """Bytes that removing ``path`` gives back: a file with other links gives none."""
    if path.is_dir() and not path.is_symlink():
        return sum(_size(Path(e.path)) for e in os.scandir(path))
    found = path.lstat()
    return found.st_size if found.st_nlink == 1 else 0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        # An unpacked image may hold folders that not even their owner may write to.
        for folder, _, _ in os.walk(path):
            os.chmod(folder, 0o700)
        shutil.rmtree(path)
    else:
        path.unlink()
