"""Unpacked layers: each one's folder is made once, sealed, and held while a root takes hard links from it.

    layers/<diff hex>/                    one layer, unpacked, and its seal beside it
    layers/<diff hex>.<chain>/            bytecode of that layer's modules (see ``bytecode``), and its seal

A layer that is not as it was sealed is unpacked again from its blob. Never fetches: the blobs are in the store before.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from ..kernel.errors import StoreError
from ..kernel.reporting import Reporter
from ..kernel.values import dataclass
from ..native.lying import lie
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

        What :meth:`made` has just made is not looked at the first time: whatever became of it since lies otherwise
        than it is said to, and so will in whatever is made of it. ``full``: every file is hashed. Raises
        :class:`ArtifactError` for a blob that is not what it should be, and :class:`StoreError` where it is not there.
        """
        folder = self._at(diff_id)
        lock = self._locks / f"layer-{folder.name}"
        fresh = self._fresh.pop(diff_id, None) if not full else None
        if fresh is not None:
            # Others may read it, too: what is borrowed for it is read off it just now.
            with held(lock, shared=True):
                listing = find_listing(folder)
                if listing is not None and listing.seal == fresh.seal:
                    yield fresh
                    return
        with held(lock):
            if folder.is_symlink() or folder.exists():
                wrong = Examiner(lister=lie).look(folder, diff_id, full=full)
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

    @contextmanager
    def made(
        self, layers: Sequence[tuple[LayerOf, str]], then: Callable[[Path], object] = bool
    ) -> Iterator[Callable[[str], int]]:
        """Unpack those of the layers (and diff_ids) that are not there, side by side, beside what the block does.

        What is given waits for the one with a diff_id, raises for it as :meth:`held` does, and says its :meth:`size`.
        ``then`` is told the folder of each that was unpacked, in a thread of its own, while others still are and who
        waited goes on; at the block's end all is done.
        """
        missing = {diff_id: layer for layer, diff_id in layers if not os.path.lexists(self._at(diff_id))}
        sizes = {diff_id: self.size(layer) for layer, diff_id in layers}
        there: dict[str, Future[None]] = {diff_id: Future() for diff_id in missing}

        def make(diff_id: str) -> None:
            folder = self._at(diff_id)
            try:
                with held(self._locks / f"layer-{folder.name}"):
                    fresh = not os.path.lexists(folder)
                    if fresh:
                        self._fresh[diff_id] = self._make(folder, missing[diff_id], diff_id)
            except BaseException as e:
                there[diff_id].set_exception(e)
                return
            there[diff_id].set_result(None)
            if fresh:
                told.append(after.submit(then, folder))

        def wait(diff_id: str) -> int:
            if diff_id in there:
                there[diff_id].result()
            return sizes[diff_id]

        told: list[Future[object]] = []
        with ThreadPoolExecutor(1) as after, ThreadPoolExecutor(min(_AT_ONCE, os.cpu_count() or 1)) as pool:
            # The largest first: they take longest.
            for diff_id in sorted(missing, key=sizes.__getitem__, reverse=True):
                pool.submit(make, diff_id)
            try:
                yield wait
                pool.shutdown()
                for one in told:
                    one.result()
            except BaseException:
                for executor in (pool, after):
                    executor.shutdown(wait=False, cancel_futures=True)
                raise

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
        remove_seal(folder)
        remove(folder)
        # What the store held for long comes into use: its tar is hashed on the way, and where that is another, it is.
        sound = functools.partial(sound_blob, self._cache, blob, f"layer {layer.digest}")
        with partial(folder) as tree:
            written = unpack(blob, diff_id, tree, sound)
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
