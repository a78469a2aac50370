"""Writing into the store, for the time of one piece of work.

A session holds a shared lock on the store (``gc`` takes it alone) and a folder of its own in ``tmp``, with a lock
that the kernel drops when the process dies; opening a session sweeps the folders of the dead. Bytes are
verified by whoever brings them, before a ``put``. Order is what makes a crash harmless: bytes are on the
disk before a realisation says so, and a realisation before the index names it. Never hashes what it is given
twice, never removes what is in use.
"""

from __future__ import annotations

import itertools
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..deriving.derivation import ImageDerivation
from ..kernel.canonical import Json, canonical
from ..kernel.digests import sha256
from ..kernel.errors import StoreError
from ..kernel.files import remove_tree
from ..kernel.scratch import sweep as sweep_temporary
from . import layout, locks
from .files import fsync_directory, publish, storing
from .realisations import ImageRealisation, LayerRealisation, Realisation, encode, hexadecimal, packed

if TYPE_CHECKING:
    from .checked import Proof
    from .contents import Contents

__all__ = ["Session"]

_OWNER = "owner"


class Session:
    """See :meth:`Store.session`. Methods may be called from several threads."""

    def __init__(self, store: Contents, cancelled: Callable[[], bool] | None = None) -> None:
        self.store = store
        self._cancelled = cancelled
        self._counter = itertools.count()
        self._dirty: set[Path] = set()
        self._guard = threading.Lock()
        self._syncing = threading.Lock()
        # Artifacts that were hashed in this session: by whoever brought them, or before their first use.
        self._sound: dict[str, threading.Lock | None] = {}
        self._unsound: dict[str, BaseException] = {}
        self._share: int | None = None
        self._owner: int | None = None
        self._directory: Path | None = None
        # What killed processes left in the system's temporary folder goes with what they left in ours.
        sweep_temporary()
        with storing(store.root):
            _prepare(store)
            self._share = locks.acquire(store.locks / "store", shared=True, cancelled=cancelled)
            try:
                # Creating a folder and locking it must look like one step to whoever sweeps.
                with locks.held(store.locks / "tmp", cancelled=cancelled):
                    sweep(store)
                    _sweep_partials(store)
                    _create(store.oci / "oci-layout", layout.LAYOUT, store.tmp)
                    _create(store.oci / "index.json", layout.dump(layout.empty_index()), store.tmp)
                    self._directory = _folder(store.tmp)
                    self._owner = locks.acquire(self._directory / _OWNER)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Remove the session's temporary files and give up the store."""
        if self._directory is not None:
            remove_tree(self._directory)
        for handle in (self._owner, self._share):
            if handle is not None:
                os.close(handle)
        self._owner = self._share = self._directory = None

    # -- files ---------------------------------------------------------------------------------

    def temporary(self, name: str = "file") -> Path:
        """A path for a new file or folder in the session's own folder, used by nobody else."""
        assert self._directory is not None, "the session is closed"
        return self._directory / f"{next(self._counter)}-{name}"

    def written(
        self, name: str, blocks: Iterable[bytes], advance: Callable[[int], object] = int
    ) -> tuple[Path, str, int]:
        """``blocks`` in a new file of the session's folder, with their SHA-256 (hex) and how many bytes they are;
        ``advance`` hears of each block's."""
        import hashlib

        temporary, digest, size = self.temporary(name), hashlib.sha256(), 0
        with storing(temporary), open(temporary, "xb") as out:
            for block in blocks:
                digest.update(block)
                size += len(block)
                out.write(block)
                advance(len(block))
        return temporary, digest.hexdigest(), size

    def put(self, temporary: Path, final: Path, mode: int = 0o444) -> Path:
        """Publish verified bytes under their final name. Where they already are, the new ones win: same bytes."""
        with storing(final):
            publish(temporary, final, mode)
        self._named(final)
        return final

    def put_bytes(self, data: bytes, final: Path, mode: int = 0o444) -> Path:
        """Publish ``data``, whole or not at all."""
        temporary = self.temporary()
        with storing(temporary, len(data)):
            temporary.write_bytes(data)
        return self.put(temporary, final, mode)

    def put_artifact(self, temporary: Path, sha256: str) -> Path:
        """Publish a file whose SHA-256 the caller has checked."""
        final = self.put(temporary, self.store.artifact_path(sha256))
        with self._guard:
            self._sound[sha256] = None
        return final

    def artifact(
        self, sha256: str, size: int | None = None, name: str = "", hashing: Callable[[Path], str] | None = None
    ) -> Path | None:
        """:meth:`Contents.sound`, at most once a session: what arrived in it was hashed on its way.

        What was raised of an artifact is raised again: whoever looks ahead need not say so.
        """
        with self._guard:
            turn = self._sound.setdefault(sha256, threading.Lock())
        if turn is None:
            return self.store.artifact(sha256, size)
        with turn:
            if self._sound[sha256] is None:
                return self.store.artifact(sha256, size)
            if sha256 in self._unsound:
                raise self._unsound[sha256]
            try:
                found = self.store.sound(sha256, size, name, hashing)
            except Exception as e:
                self._unsound[sha256] = e
                raise
            if found is not None:
                self._sound[sha256] = None
            return found

    def sound(self, sha256: str) -> bool:
        """Whether the artifact was hashed in this session."""
        with self._guard:
            return self._sound.get(sha256, self) is None

    def proven(self, sha256: str, how: Proof) -> None:
        """The artifact was hashed by who used it, and is what it should be."""
        from .checked import record

        record(self.store, sha256, how)
        with self._guard:
            self._sound[sha256] = None

    def put_blob(self, data: bytes) -> str:
        """Publish a config or a manifest; its digest."""
        digest = "sha256:" + sha256(data).hexdigest()
        found = self.store.blob(digest, len(data))
        if found is None or found.read_bytes() != data:
            self.put_bytes(data, self.store.blob_path(digest))
        else:
            self._named(found)
        return digest

    def sync(self) -> None:
        """Make all names published so far durable. When it returns, those of other threads are too."""
        # One at a time: names that another thread is still bringing to the disk are waited for, not taken for done.
        with self._syncing:
            with self._guard:
                dirty = sorted(self._dirty)
            for directory in dirty:
                with self._guard:
                    self._dirty.discard(directory)
                try:
                    with storing(directory):
                        fsync_directory(directory)
                except BaseException:
                    with self._guard:
                        self._dirty.add(directory)
                    raise

    def _named(self, path: Path) -> None:
        """Let the next ``sync`` make the name durable. One found here too: who published it may not have got so far."""
        with self._guard:
            self._dirty.add(path.parent)

    # -- realisations --------------------------------------------------------------------------

    @contextmanager
    def making(self, derivation: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the derivation: of two builds that make the same thing, one waits, then finds it made."""
        path = self.store.locks / hexadecimal(derivation)
        with storing(path):
            handle = locks.acquire(path, cancelled=self._cancelled, waiting=waiting)
        try:
            yield
        finally:
            os.close(handle)

    def put_layer(
        self, derivation: str, made: LayerRealisation, listing: Mapping[str, str] | bytes, blob: Path
    ) -> None:
        """Publish a layer: its blob (a temporary file with ``made``'s digest), its listing, as it is or as
        :func:`packed` gave it, its realisation."""
        found = blob.stat().st_size
        if found != made.size:
            raise StoreError(f"{blob}: expected a layer of {made.size} bytes, found {found}")
        if self.store.blob(made.digest, made.size) is None:
            self.put(blob, self.store.blob_path(made.digest))
        else:
            blob.unlink()
            self._named(self.store.blob_path(made.digest))
        self.put_bytes(
            listing if isinstance(listing, bytes) else packed(listing), self.store.listings / hexadecimal(derivation)
        )
        self._realise(derivation, made)

    def put_image(self, image: ImageDerivation, made: ImageRealisation) -> None:
        """Publish an image whose blobs are stored: its derivation, then its realisation."""
        record: dict[str, Json] = {
            "environment": image.environment,
            "platform": image.platform,
            "layers": [{"hash": x.hash, "artifacts": [a.sha256 for a in x.artifacts]} for x in image.layers],
            "spec": cast(Json, dict(image.spec)),
        }
        packed = zlib.compress(canonical(record), 1)
        self.put_bytes(packed, self.store.realisations / f"{hexadecimal(image.hash)}.derivation")
        self._realise(image.hash, made)

    def _realise(self, derivation: str, made: Realisation) -> None:
        self.sync()
        self.put_bytes(encode(made), self.store.realisations / f"{hexadecimal(derivation)}.json")
        self.sync()

    def tag(self, image: ImageDerivation, made: ImageRealisation) -> None:
        """Let the index name the image; nothing is written where it already does."""
        entry = layout.entry(image, made)
        if entry in layout.manifests(self.store.index()):
            return
        self.sync()
        with storing(self.store.oci), locks.held(self.store.locks / "index", cancelled=self._cancelled):
            self.put_index(layout.put(self.store.index(), entry))
        self.sync()

    def put_index(self, index: layout.Document) -> None:
        """Replace ``index.json``. The caller holds ``locks/index``. Writable, as other tools may write it too."""
        self.put_bytes(layout.dump(index), self.store.oci / "index.json", 0o644)


def _prepare(store: Contents) -> None:
    folders = (
        *(store.blobs, store.artifacts, store.realisations, store.listings),
        *(store.used, store.locks, store.partial),
    )
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)


def _create(final: Path, data: bytes, folder: Path) -> None:
    if final.exists():
        return
    import tempfile

    handle, name = tempfile.mkstemp(prefix="session-", dir=folder)
    with os.fdopen(handle, "wb") as f:
        f.write(data)
    publish(Path(name), final, 0o644)


def _folder(parent: Path) -> Path:
    """A new folder that is ours alone, named so that it is swept when we are dead."""
    while True:
        with suppress(FileExistsError):
            path = parent / f"session-{os.urandom(6).hex()}"
            path.mkdir(0o700)
            return path


def _sweep_partials(store: Contents) -> None:
    """Remove downloads that nobody goes on with: of what is here by now, or of which nothing came."""
    for path in store.partial.iterdir():
        with suppress(OSError):
            if path.stat().st_size and store.artifact(path.name) is None:
                continue
            handle = locks.try_acquire(path)
            if handle is not None:
                path.unlink()
                os.close(handle)


def sweep(store: Contents) -> int:
    """Remove what dead sessions left in ``tmp``; how many. The caller holds ``locks/tmp``."""
    swept = 0
    for path in store.tmp.glob("session-*"):
        handle = None
        if path.is_dir():
            with suppress(FileNotFoundError):
                handle = locks.try_acquire(path / _OWNER)
            if handle is None:
                continue
            remove_tree(path)
            os.close(handle)
        else:
            path.unlink(missing_ok=True)
        swept += 1
    return swept
