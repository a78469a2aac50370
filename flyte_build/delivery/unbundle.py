"""Takes in a bundle: verified bytes into the store, locks into their folder; then a build here needs no network.

Whoever names the file trusts what it says that derivations became, as with a configured cache, and no more than that:
an image's documents are computed again from its derivation, a layer's diff_id and listing are read from its own bytes,
and with ``verify`` the images are made again from the artifacts and compared. Realisations and locks come last, when
everything has been read and found good; bytes that came before are in the store by their hashes and harm nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..assemble.errors import AssembleError
from ..assemble.layer import layer_artifacts
from ..assemble.plan import parse_plan
from ..assemble.version import ASSEMBLER
from ..deriving.derivation import Artifact, ImageDerivation, LayerDerivation
from ..kernel.errors import ArtifactError, InputError
from ..kernel.reporting import Reporter
from ..locks.directory import writing
from ..locks.lockfile import Lock, write_all
from ..store import Store
from ..store.files import hash_file, storing
from .format import BundledImage, Entry, Index
from .importing import Claim, claim, rebuild, take_in
from .locks import check_locks, read_lock
from .modules import keep_modules
from .reader import Reader

if TYPE_CHECKING:
    from ..store import Session

__all__ = ["Unbundled", "unbundle"]


@dataclass(frozen=True, slots=True)
class Unbundled:
    """What was taken in: ``images`` that can be used at once, ``new`` files and ``size`` in bytes of all, ``locks``
    written. ``verified``: the images were made again, and are the same."""

    index: Index
    images: tuple[BundledImage, ...]
    files: int
    new: int
    size: int
    locks: tuple[str, ...]
    verified: bool


def unbundle(
    store: Store,
    path: Path,
    lockfiles: Path,
    reporter: Reporter,
    *,
    force: bool = False,
    verify: bool = False,
) -> Unbundled:
    """Take the bundle ``path`` into ``store`` and the folder ``lockfiles``.

    ``force``: locks there that differ are replaced. Raises :class:`InputError` for what is no bundle,
    :class:`ArtifactError` for a bundle that is damaged or says what cannot be, :class:`LockError` for locks that differ
    from those there, :class:`PinError` where an image is not the one pinned, or not the one that is made here, and
    :class:`StoreError`. Whatever is raised, store and locks are valid.
    """
    try:
        source = open(path, "rb", buffering=0)  # noqa: SIM115
    except OSError as e:
        raise InputError(f"{path}: cannot be read: {e.strerror or e}") from None
    with source, store.session() as session:
        work = _Work(session, path, reporter)
        reader = Reader(source, path)
        index = reader.index()
        work.check_before(index, verify=verify)
        size = sum(entry.size for entry in index.entries)
        with reporter.work(f"read {path.name}", size, unit="bytes") as progress:
            reader.advance = progress.advance
            work.read(reader, index, lockfiles, force=force)
        session.sync()
        claims = work.claims(index)
        if verify:
            rebuild(session, claims, reporter)
        take_in(session, claims, reporter)
    with writing(lockfiles):
        check_locks(lockfiles, work.locks, force=force)
        written = write_all(lockfiles, work.locks)
    images = tuple(c.image for c in claims)
    return Unbundled(index, images, len(index.entries), work.new, size, tuple(written), verify)


class _Work:
    """What has been read of one bundle so far."""

    def __init__(self, session: Session, path: Path, reporter: Reporter) -> None:
        self._session, self._store = session, session.store
        self._path = path
        self._reporter = reporter
        self._derivations: dict[str, ImageDerivation] = {}
        self.locks: list[Lock] = []
        self.new = 0

    def check_before(self, index: Index, *, verify: bool) -> None:
        """What can be said from the index alone."""
        if verify and all(image.manifest is None for image in index.images):
            raise InputError(
                f"{self._path}: nothing to verify: the bundle holds no images",
                hint="leave out --verify: `flyte-build build --locked` makes the images and checks their pins",
            )

    def read(self, reader: Reader, index: Index, lockfiles: Path, *, force: bool) -> None:
        """Read the file to its end. Locks are compared before anything comes into the store."""
        for entry in index.within("locks"):
            self.locks.append(read_lock(reader.data(entry), entry.name, self._path))
        check_locks(lockfiles, self.locks, force=force)
        for entry in index.within("derivations"):
            self._derivations[f"sha256:{entry.name}"] = self._derivation(reader.data(entry), entry)
        for entry in index.within("modules"):
            if not keep_modules(self._session, entry.name, reader.data(entry)):
                raise ArtifactError(f"{self._path}: {entry.path}: expected a wheel's modules, found something else")
        for entry in index.within("artifacts"):
            self._store_file(reader, entry, self._store.artifact_path(entry.name))
        for entry in index.within("blobs"):
            self._store_file(reader, entry, self._store.blob_path(f"sha256:{entry.name}"))
        reader.end()

    def claims(self, index: Index) -> list[Claim]:
        """What the bundle says of its images, checked. Those of other rules than ours are left out, and named."""
        found = []
        for image in index.images:
            spec = self._derivations[image.derivation]
            if spec.spec["platform"] != image.platform:
                raise self._wrong(image, f"expected a derivation for {image.platform}, found {spec.spec['platform']}")
            foreign = {str(layer.spec["assembler"]) for layer in spec.layers} - {str(ASSEMBLER)}
            if image.manifest is None:
                continue
            if foreign:
                self._reporter.warn(
                    f"{image.environment} on {image.platform} was made by another flyte-build (assembler "
                    f"{', '.join(sorted(foreign))}, this is {ASSEMBLER}): its image is not taken"
                )
                continue
            lock = next(lock for lock in self.locks if lock.environment == image.environment)
            named = ImageDerivation(image.environment, image.platform, spec.layers, spec.spec)
            found.append(claim(self._store, self._path, image, named, lock))
        return found

    def _derivation(self, data: bytes, entry: Entry) -> ImageDerivation:
        try:
            spec: Mapping[str, Any] = parse_plan(data, f"{self._path}: {entry.path}")
            layers = tuple(LayerDerivation(row, _artifacts(row)) for row in spec["layers"])
            made = ImageDerivation("", spec["platform"], layers, spec)
        except (AssembleError, RecursionError, TypeError, KeyError, ValueError) as e:
            raise ArtifactError(f"{self._path}: {entry.path}: expected a derivation: {e}") from None
        if made.hash != f"sha256:{entry.name}":
            raise ArtifactError(
                f"{self._path}: {entry.path}: expected a derivation in canonical JSON, found another form"
            )
        return made

    def _store_file(self, reader: Reader, entry: Entry, final: Path) -> None:
        """Read one entry; it comes into the store once it is verified, unless it is there."""
        if _has(final, entry):
            reader.copy(entry, lambda piece: None)
            return
        temporary = self._session.temporary("bundled")
        with storing(temporary, entry.size):
            out = open(temporary, "xb", buffering=0)  # noqa: SIM115

        def write(piece: bytes) -> None:
            with storing(temporary, entry.size):
                view = memoryview(piece)
                while view:
                    view = view[out.write(view) :]

        with out:
            reader.copy(entry, write)
        self._session.put(temporary, final)
        self.new += 1

    def _wrong(self, image: BundledImage, message: str) -> ArtifactError:
        return ArtifactError(
            f"{self._path}: {image.environment} on {image.platform}: {message}",
            hint="have the bundle made and sent again",
        )


def _has(final: Path, entry: Entry) -> bool:
    """Whether the store has the entry's bytes; others under its name are replaced."""
    with storing(final):
        return final.is_file() and final.stat().st_size == entry.size and hash_file(final)[0] == entry.sha256


def _artifacts(spec: Mapping[str, Any]) -> tuple[Artifact, ...]:
    """What a layer is made of, by name and hash; sizes are not in a derivation. A base's layer is made of nothing."""
    if spec["kind"] == "base":
        return ()
    return tuple(Artifact(sha256, 0, file) for sha256, file in layer_artifacts(spec).items())
