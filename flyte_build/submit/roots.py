"""Images as root file systems: unpacked once, sealed, shared by hard links, ready to be entered read-only.

    roots/<manifest hex>/     the tree, and its seal beside it (see ``store.sealed``)
    layers/                   what roots are made of (see ``layers``)
    locks/root-<hex>          held alone by whoever makes the root; locks/use-<hex>: held by all who use it

A tree appears under its name only when it is complete (rename), so a crash leaves a ``.partial`` that the next use
removes. Before a root is entered all of it is looked at: one that is not as it was sealed is made again, and never
entered. Bytecode speeds imports up here and is no part of the image: two machines with the same image agree on every
other byte. Never fetches: the blobs are in the store before anybody asks for a root.
"""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ..kernel.errors import ArtifactError, FlyteBuildError, StoreError
from ..kernel.reporting import Reporter, Silent
from ..native.lying import lie
from ..store import locks
from ..store.checked import sound_blob
from ..store.files import storing
from ..store.seal_files import find_listing, remove_seal
from ..store.sealed import Difference, Examiner, extend, seal
from .action import ImageRoot
from .filling import Filling
from .furnish import find_python, prepare
from .image_documents import Config, Manifest, read_config, read_manifest
from .late import Doing, Late, Link
from .layers import Layers, partial, said
from .lender import Borrow
from .lending import borrow
from .merge import merge
from .orphans import sweep
from .sandbox.spec import Engine
from .unpack import remove

__all__ = ["Roots", "prepare"]

# Seconds: others who look at a root hold it as if they used it.
_PATIENCE = 5.0
# Seconds after which whoever waits is told for what.
_MOMENT = 0.5


class Roots:
    """Root file systems under ``cache``, from the blobs of an OCI image layout (``blobs/sha256/<hex>``).

    Roots that were got stay as they are until this object goes. ``full``: every file of a root is hashed before it is
    given, instead of looked at. ``imports`` are the modules that are about to be imported, besides the runtime's: they
    are compiled, by an interpreter in a sandbox of ``engine``; ``None``: all are. ``later``: not before a root is
    given, but within :meth:`ahead`, and put into it after that. ``borrow`` is whose way it is to borrow bytecode (see
    ``lender``). ``made`` is told each root that is made, and its seal, before anybody else can have it; ``sealed`` says
    what one was sealed as that another process made for this one a moment ago: that is not looked at.
    """

    def __init__(
        self,
        cache: Path,
        blobs: Path,
        engine: Engine | None = None,
        reporter: Reporter | None = None,
        *,
        full: bool = False,
        imports: Collection[str] | None = None,
        later: bool = False,
        borrow: Borrow = borrow,
        made: Callable[[str, str], object] = lambda *_: None,
        sealed: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._cache = cache
        self._roots = cache / "roots"
        self._locks = cache / "locks"
        self._blobs = blobs
        self._reporter = reporter or Silent()
        self._full = full
        self._layers = Layers(cache, blobs, self._locks, self._reporter)
        self._filling = Filling(engine, self._layers, self._locks, self._reporter, imports, borrow)
        self._made, self._sealed = made, sealed
        self._examiner = Examiner(lister=lie)
        self._got: dict[str, ImageRoot] = {}
        self._late = Late(self._filling, self._locks) if later else None
        self._guard = threading.Lock()
        self._guards: dict[str, threading.Lock] = {}
        self._handles: list[int] = []
        weakref.finalize(self, _close, self._handles)

    def get(self, digest: str, *, anything: bool = False) -> ImageRoot:
        """The root of the image whose manifest is ``digest`` (``sha256:<hex>``), unpacked first where needed.

        Looked at the first time it is asked for: once a run, and not once an action. Blocks; safe in several threads
        and processes. Raises :class:`ArtifactError` for blobs that are not what they should be and :class:`StoreError`
        for a disk that refuses, or a root that is not as it was sealed while somebody else uses it.
        ``anything``: it need have no Python, for no task runs in it.
        """
        with self._guard:
            guard = self._guards.setdefault(digest, threading.Lock())
        with guard:
            if digest not in self._got:
                self._got[digest] = self._get(digest)
            found = self._got[digest]
        if not found.python and not anything:
            raise ArtifactError(
                f"image {digest} has no Python in its PATH, so it cannot run a task",
                hint="use a base image with Python, or flyte.Image.from_debian_base()",
            )
        return found

    def there(self, digest: str) -> bool:
        """Whether the root lies there already, whatever it is like: to look at it costs little."""
        return os.path.lexists(self._roots / digest.removeprefix("sha256:"))

    @contextmanager
    def ahead(self, digests: Collection[str], begun: threading.Event | None = None) -> Iterator[None]:
        """Get these beside what the block does, in this order, so that they are there when they are asked for.

        What hinders one is said to whoever asks for it. At the block's end the one that is being made is waited for,
        and no other is begun. What is to be compiled later is compiled then, once ``begun`` is set (at the latest after
        some seconds), with what the processors have left, and put into the roots after the block, which nobody must
        enter any more.
        """
        left, failed = threading.Event(), threading.Event()
        begun = begun or left
        doing = Doing(digests)

        def make() -> None:
            for digest in digests:
                if left.is_set():
                    return
                doing.unpacks(digest)
                with suppress(FlyteBuildError):
                    self.get(digest)
            if self._late is not None:
                begun.wait(_PATIENCE)
                self._late.compile(failed.is_set, doing.compiles)

        maker = threading.Thread(target=make, name="roots", daemon=True)
        maker.start()
        try:
            yield
        except BaseException:
            failed.set()
            raise
        finally:
            left.set()
            begun.set()
            maker.join(_MOMENT)
            if maker.is_alive():
                self._reporter.note(f"{doing.words} for the next run: a moment")
                maker.join()
        if self._late is not None:
            _close(self._handles)
            self._got.clear()
            self._late.settle(self._settle)

    def _get(self, digest: str) -> ImageRoot:
        manifest = read_manifest(self._blob(digest, digest), digest)
        config = read_config(self._blob(manifest.config, digest), digest, manifest)
        root = self._roots / digest.removeprefix("sha256:")
        self._enter(root, digest, manifest, config)
        python = find_python(root, config.env) or ""
        return ImageRoot(
            digest, root, python, config.env, config.workdir, entrypoint=config.entrypoint, command=config.command
        )

    def _blob(self, digest: str, image: str) -> bytes:
        path = self._blobs / digest.removeprefix("sha256:")
        try:
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != path.name:
                sound_blob(self._cache, path, f"image {image}")
            return data
        except FileNotFoundError:
            raise StoreError(
                f"the store has no blob {digest}", hint="build the image again (`flyte-build build`)"
            ) from None

    # -- entering ------------------------------------------------------------------------------------

    def _enter(self, root: Path, digest: str, manifest: Manifest, config: Config) -> None:
        """The root is there, as it was sealed, and stays so: this process has its share in it."""
        use = self._share(root)
        there = os.path.lexists(root) and not self._wrong(root, digest, config, self._examiner)
        if there and not self._lacks(root, digest, manifest, config):
            self._keep(use)
            return
        _close([use] if use is not None else [])
        with storing(root):
            for folder in (self._roots, self._layers.folder, self._locks):
                folder.mkdir(parents=True, exist_ok=True)
            with locks.held(self._locks / f"root-{root.name}"), ExitStack() as alone:
                there = os.path.lexists(root)
                examiner = Examiner(lister=lie)
                wrong = self._wrong(root, digest, config, examiner) if there else ()
                if there and wrong:
                    alone.enter_context(self._alone(root, wrong))
                    self._reporter.warn(
                        f"image {digest[:19]}: its unpacked files are not as they were sealed ({said(wrong)}); "
                        "it is unpacked again"
                    )
                if wrong or not there:
                    self._make(root, digest, manifest, config, full=self._full or there)
                elif self._lacks(root, digest, manifest, config) and not self._fill(
                    root, digest, manifest, config, examiner
                ):
                    self._make(root, digest, manifest, config, full=True)
                # What it knows of inodes may be of files that are gone.
                self._examiner = Examiner(lister=lie)
                alone.close()
                self._keep(self._share(root))

    def _lacks(self, root: Path, digest: str, manifest: Manifest, config: Config) -> bool:
        """Whether something is to be put into the root, which is as it was sealed, before it is entered."""
        if not self._filling.lacks(root):
            return False
        if self._late is not None:
            self._late.add(digest, root, manifest, config)
            return self._filling.has(root, manifest, config)
        return True

    def _wrong(self, root: Path, digest: str, config: Config, examiner: Examiner) -> tuple[Difference, ...]:
        fresh = self._sealed(digest) if not self._full else None
        listing = find_listing(root) if fresh is not None else None
        if listing is not None and (listing.of, listing.layers, listing.seal) == (digest, config.diff_ids, fresh):
            return ()
        return examiner.look(root, digest, config.diff_ids, full=self._full)

    def _share(self, root: Path) -> int | None:
        """A share in the root: nobody throws it away. ``None`` where no lock can be made: there, nobody can."""
        with suppress(OSError):
            return locks.acquire(self._locks / f"use-{root.name}", shared=True)
        return None

    def _keep(self, handle: int | None) -> None:
        if handle is not None:
            self._handles.append(handle)

    @contextmanager
    def _alone(self, root: Path, wrong: tuple[Difference, ...]) -> Iterator[None]:
        try:
            handle = locks.acquire(self._locks / f"use-{root.name}", timeout=_PATIENCE)
        except locks.Busy:
            raise StoreError(
                f"{root}: not as it was sealed, and a run is using it\n  {said(wrong)}",
                hint="end that run (`flyte-build runs`), then run this again: the image is unpacked anew",
            ) from None
        try:
            yield
        finally:
            os.close(handle)

    # -- making --------------------------------------------------------------------------------------

    def _make(self, root: Path, digest: str, manifest: Manifest, config: Config, *, full: bool) -> None:
        remove_seal(root)
        remove(root)
        size = sum(map(self._layers.size, manifest.layers))
        work = self._reporter.work(f"unpack image {root.name[:12]}", size, unit="bytes")
        with work as progress, partial(root) as tree:
            known: dict[str, str] = {}
            seals = []
            layers = list(zip(manifest.layers, config.diff_ids, strict=True))
            with self._layers.made(layers, self._filling.borrow) as made:
                for layer, diff_id in layers:
                    progress.advance(made(diff_id))
                    with self._layers.held(layer, diff_id, full=full) as unpacked:
                        merge(unpacked.folder, tree)
                        known |= unpacked.records
                        seals.append((diff_id, unpacked.seal))
            prepare(tree)
            known |= self._filling.lend(tree, config.diff_ids)
            known |= self._filling.fill(tree, manifest, config, compiling=self._late is None)
            lying = {int(record.split(" ")[1]): record for record in known}
            whole = seal(tree, root, digest, seals, known.get, lying)
        self._made(digest, whole)
        if self._late is not None:
            self._late.add(digest, root, manifest, config)
        else:
            self._filling.note(root)
        sweep(self._roots, self._layers.folder, self._locks)

    def _settle(self, root: Path, digest: str, manifest: Manifest, config: Config, link: Link) -> None:
        examiner = Examiner(lister=lie)
        if not examiner.look(root, digest, config.diff_ids):
            self._fill(root, digest, manifest, config, examiner, link)

    def _fill(
        self, root: Path, digest: str, manifest: Manifest, config: Config, examiner: Examiner, link: Link | None = None
    ) -> bool:
        """Put more bytecode into a root that ``examiner`` found as it was sealed; not while somebody runs in it.

        ``link`` does that, and then nothing is lacking; ``None``: it is compiled now, or what is there is put there.
        Whether nothing else was changed meanwhile: else it is not as it was sealed any more.
        """
        use = locks.try_acquire(self._locks / f"use-{root.name}")
        if use is None:
            return True
        try:
            layers = zip(manifest.layers, config.diff_ids, strict=True)
            seals = [(diff_id, self._layers.seal_of(layer, diff_id)) for layer, diff_id in layers]
            now = self._late is None
            filled = link() if link is not None else self._filling.fill(root, manifest, config, compiling=now)
            if filled and extend(root, digest, seals, filled, examiner) is None:
                return False
            if now or link is not None:
                self._filling.note(root)
            return True
        finally:
            os.close(use)


def _close(handles: list[int]) -> None:
    while handles:
        os.close(handles.pop())
