"""Unpacked layers: each one's folder is made once, sealed, and held while a root takes hard links from it.

    layers/<diff hex>/                    one layer, unpacked, and its seal beside it
    layers/<diff hex>.<chain>/            bytecode of that layer's modules (see ``bytecode``), and its seal

A layer that is not as it was sealed is unpacked again from its blob. Never fetches: the blobs are in the store before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from ..kernel.errors import StoreError
from ..kernel.reporting import Reporter
from ..kernel.values import dataclass
from ..store.checked import sound_blob
from ..store.locks import held
from ..store.seal_files import beside, find_listing, remove_seal
from ..store.sealed import Difference, Examiner, records, seal
from .image_documents import LayerOf
from .unpack import remove, remove_tree, unpack

__all__ = ["Layers", "Unpacked", "partial", "said"]

# Most of it is Python, one thread at a time; inflating, hashing and the file system's part go on beside it.
_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A layer's folder and its seal; ``records``: how each file lies → its SHA-256 in hex."""

    folder: Path
    seal: str
    records: Mapping[str, str]


class Layers:
    """The unpacked layers of the store in ``cache``, whose blobs are in ``blobs``; ``locks`` has their locks."""

    def __init__(self, cache: Path, blobs: Path, locks: Path, reporter: Reporter) -> None:
        self._cache = cache
        self.folder = cache / "layers"
        self._blobs = blobs
        self._locks = locks
        self._reporter = reporter
        self._fresh: dict[str, Unpacked] = {}

    @contextmanager
    def held(self, layer: LayerOf, diff_id: str, *, full: bool = False) -> Iterator[Unpacked]:
        """Hold the layer, unpacked, as it was sealed; nobody else changes or removes it meanwhile.

        What :meth:`make_all` has just made is not looked at the first time: whatever became of it since lies otherwise
        than it is said to, and so will in whatever is made of it. ``full``: every file is hashed. Raises
        :class:`ArtifactError` for a blob that is not what it should be, and :class:`StoreError` where it is not there.
        """
        folder = self._at(diff_id)
        with held(self._locks / f"layer-{folder.name}"):
            fresh = self._fresh.pop(diff_id, None)
            listing = find_listing(folder)
            if fresh is not None and not full and listing is not None and listing.seal == fresh.seal:
                yield fresh
                return
            if folder.is_symlink() or folder.exists():
                wrong = Examiner().look(folder, diff_id, full=full)
                if wrong:
                    self._reporter.warn(
                        f"layer {diff_id[:19]}: its unpacked files are not as they were sealed ({said(wrong)}); "
                        "it is unpacked again"
                    )
                    self._make(folder, layer, diff_id)
            else:
                self._make(folder, layer, diff_id)
            listing = find_listing(folder)
            assert listing is not None
            yield Unpacked(folder, listing.seal, records(folder))

    def seal_of(self, layer: LayerOf, diff_id: str) -> str:
        """Its seal. It is not looked at, but unpacked where it is not there; raises as :meth:`held` does."""
        folder = self._at(diff_id)
        listing = find_listing(folder) if folder.is_dir() else None
        if listing is not None and listing.of == diff_id:
            return listing.seal
        with self.held(layer, diff_id) as unpacked:
            return unpacked.seal

    def make_all(
        self,
        layers: Sequence[tuple[LayerOf, str]],
        advance: Callable[[int], object],
        made: Callable[[Path], object] = bool,
    ) -> None:
        """Unpack those of the layers (and diff_ids) that are not there, side by side; raises as :meth:`held` does.

        ``advance`` hears of each that is there, by its :meth:`size`, and ``made`` of the folder of each that was
        unpacked, in the thread that did, while others still are.
        """
        missing = {diff_id: layer for layer, diff_id in layers if not os.path.lexists(self._at(diff_id))}

        def make(diff_id: str) -> None:
            folder = self._at(diff_id)
            with held(self._locks / f"layer-{folder.name}"):
                if os.path.lexists(folder):
                    return
                self._fresh[diff_id] = self._make(folder, missing[diff_id], diff_id)
            made(folder)

        advance(sum(self.size(layer) for layer, diff_id in layers if diff_id not in missing))
        # The largest first: they take longest.
        ordered = sorted(missing, key=lambda d: self.size(missing[d]), reverse=True)
        with ThreadPoolExecutor(min(_AT_ONCE, os.cpu_count() or 1)) as pool:
            for diff_id, _ in zip(ordered, pool.map(make, ordered), strict=True):
                advance(self.size(missing[diff_id]))

    def _at(self, diff_id: str) -> Path:
        return self.folder / diff_id.removeprefix("sha256:")

    def size(self, layer: LayerOf) -> int:
        """Bytes of its blob, as it is compressed."""
        with suppress(OSError):
            return (self._blobs / layer.digest.removeprefix("sha256:")).stat().st_size
        return 0

    def _make(self, folder: Path, layer: LayerOf, diff_id: str) -> Unpacked:
        blob = self._blobs / layer.digest.removeprefix("sha256:")
        if not blob.is_file():
            raise StoreError(
                f"the store has no blob {layer.digest}", hint="build the image again (`flyte-build build`)"
            )
        # What the store held for long comes into use: it is hashed before anything opens it as a tar.
        sound_blob(self._cache, blob, f"layer {layer.digest}")
        remove_seal(folder)
        remove(folder)
        with partial(folder) as tree:
            written = unpack(blob, diff_id, tree)
            digests, lying = dict(written.values()), {inode: record for inode, (record, _) in written.items()}
            made = seal(tree, folder, diff_id, (), digests.get, lying)
        return Unpacked(folder, made, digests)


@contextmanager
def partial(final: Path) -> Iterator[Path]:
    """A fresh folder that becomes ``final`` at the end, or nothing; what lies beside ``final`` is written within."""
    tree = beside(final, ".partial")
    remove_tree(tree)
    tree.mkdir()
    try:
        yield tree
    except BaseException:
        remove_tree(tree)
        remove_seal(final)
        raise
    tree.rename(final)


def said(differences: tuple[Difference, ...]) -> str:
    """The first of them, and how many more there are."""
    more = f", and {len(differences) - 1} more" if len(differences) > 1 else ""
    return f"{differences[0]}{more}"
