"""What the store holds: one folder of bytes named by their hashes, and what derivations became. Asking never writes.

    oci/              an OCI image layout: oci-layout, index.json, blobs/sha256/<hex>
    artifacts/sha256/<hex>     what was fetched: wheels, .debs, local files
    realisations/<hex>.json    layer or image derivation → digests and sizes
    realisations/<hex>.derivation   an image's derivation itself, so that ``gc`` knows what the image needs
    listings/<hex>    a layer's paths and what is at each, in zlib's form (see ``realisations.packed``)
    components/       what was made of packages for bills of materials, by what made it: ``supply.components``'s
    used/<hex>        empty; its date says when an image was last used
    checked/<hex>     how an artifact lay on the disk when it was hashed (see ``checked``)
    locks/  tmp/      see ``locks`` and ``session``
    roots/  layers/   unpacked images and layers with their seals (see ``sealed``), the launcher's
    corrupt/          what was not what its name says, moved aside

Everything but ``tmp`` is valid at every instant. A realisation whose blobs are gone counts as absent, so
nothing here needs repair: it is made again. Never fetches, never builds.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..kernel import documents, paths
from ..kernel.digests import sha256
from ..kernel.errors import StoreError
from . import layout, locks
from .files import storing
from .realisations import ImageRealisation, LayerRealisation, Realisation, decode, hexadecimal

__all__ = ["Contents"]


class Contents:
    """What the store in ``root`` has (default: :func:`flyte_build.kernel.paths.cache_dir`), which need not exist yet.

    Safe to use from several threads and several processes.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root if root is not None else paths.cache_dir()).absolute()
        self.oci = self.root / "oci"
        self.blobs = self.oci / "blobs" / "sha256"
        self.artifacts = self.root / "artifacts" / "sha256"
        self.realisations = self.root / "realisations"
        self.listings = self.root / "listings"
        self.used = self.root / "used"
        self.checked = self.root / "checked"
        self.locks = self.root / "locks"
        self.tmp = self.root / "tmp"
        self.partial = self.tmp / "partial"
        self.corrupt = self.root / "corrupt"
        self.roots = self.root / "roots"
        self.layers = self.root / "layers"

    # -- asking --------------------------------------------------------------------------------

    def artifact_path(self, sha256: str) -> Path:
        """Where the artifact lies or would lie."""
        return self.artifacts / sha256

    def blob_path(self, digest: str) -> Path:
        """Where the blob lies or would lie."""
        return self.blobs / hexadecimal(digest)

    def artifact(self, sha256: str, size: int | None = None) -> Path | None:
        """The artifact's path, ``None`` where it is not here (or not with this size in bytes)."""
        return _present(self.artifact_path(sha256), size)

    def blob(self, digest: str, size: int | None = None) -> Path | None:
        """The blob's path, ``None`` where it is not here (or not with this size in bytes)."""
        return _present(self.blob_path(digest), size)

    def sound(
        self, sha256: str, size: int | None = None, name: str = "", hashing: Callable[[Path], str] | None = None
    ) -> Path | None:
        """:meth:`artifact` for a reader: hashed now (by ``hashing``, to hex), or recorded as it lies (see ``checked``).

        ``name`` is what a person calls it. Raises :class:`FetchError` where its bytes are others: it is moved aside.
        """
        from .checked import sound_artifact

        return sound_artifact(self, sha256, size, name, hashing=hashing)

    def document(self, digest: str) -> bytes | None:
        """A manifest's or a configuration's bytes, hashed; ``None`` where they are not here, or are others."""
        data = self._read(self.blob_path(digest))
        return data if data is not None and sha256(data).hexdigest() == hexadecimal(digest) else None

    def realisation(self, derivation: str) -> Realisation | None:
        """What this derivation became, as long as every byte of it is still here, by name and size."""
        data = self._read(self.realisations / f"{hexadecimal(derivation)}.json")
        found = decode(data) if data is not None else None
        if isinstance(found, LayerRealisation):
            listed = (self.listings / hexadecimal(derivation)).is_file()
            return found if listed and self.blob(found.digest, found.size) else None
        if found is not None:
            manifest = self.manifest(found.manifest) if self.blob(found.manifest, found.size) else None
            with suppress(layout.Malformed):
                if manifest and all(self.blob(digest, size) for digest, size in layout.references(manifest)):
                    return found
        return None

    def layer(self, derivation: str) -> LayerRealisation | None:
        """:meth:`realisation` of a layer's derivation."""
        found = self.realisation(derivation)
        return found if isinstance(found, LayerRealisation) else None

    def image(self, derivation: str) -> ImageRealisation | None:
        """:meth:`realisation` of an image's derivation."""
        found = self.realisation(derivation)
        return found if isinstance(found, ImageRealisation) else None

    def manifest(self, digest: str) -> dict[str, Any] | None:
        """A manifest's JSON; ``None`` where it is not here, not what its digest says, or not JSON."""
        data = self.document(digest)
        return layout.parse(data) if data is not None else None

    def derivation(self, image: str) -> dict[str, Any] | None:
        """``{"environment", "platform", "layers": [{"hash", "artifacts"}], "spec"}`` of an image's derivation.

        ``None`` where it is not here, or is something else.
        """
        data = self._read(self.realisations / f"{hexadecimal(image)}.derivation")
        try:
            found = documents.parse_object(zlib.decompress(data)) if data is not None else None
        except (zlib.error, ValueError):
            return None
        return found if found is not None and _is_derivation(found) else None

    def listing(self, layer: str) -> Mapping[str, str]:
        """What a realised layer holds: path → identity. Raises :class:`StoreError` where it cannot be read."""
        path = self.listings / hexadecimal(layer)
        with storing(path):
            data = path.read_bytes()
        try:
            found: dict[str, str] = documents.parse_object(zlib.decompress(data))
            if not all(type(identity) is str for identity in found.values()):
                raise ValueError("an identity is no text")
            return found
        except (zlib.error, ValueError):
            raise StoreError(
                f"{path}: expected a layer's listing, found {len(data)} bytes that are none",
                hint="run `flyte-build store verify`, then build again",
            ) from None

    def index(self) -> dict[str, Any]:
        """``index.json``; an empty index where there is none yet or it cannot be understood."""
        data = self._read(self.oci / "index.json")
        return (layout.parse(data) if data is not None else None) or layout.empty_index()

    def tags(self) -> dict[str, str]:
        """``ref.name`` → manifest digest, of all images with a name."""
        found = {}
        for entry in layout.manifests(self.index()):
            name = layout.annotation(entry, layout.REF_NAME)
            if name is not None and isinstance(entry.get("digest"), str):
                found[name] = entry["digest"]
        return found

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            raise StoreError(
                f"{path}: cannot be read: {e.strerror or e}",
                hint="check the folder's owner and permissions, or set FLYTE_BUILD_CACHE to another folder",
            ) from e

    def unswept(self) -> bool:
        """Whether somebody works in the store, or was killed while he did: the next session removes what he left."""
        with suppress(OSError):
            return any(name.startswith("session-") for name in os.listdir(self.tmp))
        return False

    # -- using ---------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep ``gc`` away while images of the store are in use (by a run, say). Works on a read-only store."""
        handle: int | None = None
        if self.locks.is_dir():
            with suppress(FileNotFoundError), storing(self.locks):
                handle = locks.acquire(self.locks / "store", shared=True)
        try:
            yield
        finally:
            if handle is not None:
                os.close(handle)

    def touch(self, image: str) -> None:
        """Note that the image of this derivation was used now; what cannot be written is let be."""
        with suppress(OSError):
            self.used_path(image).touch()

    def used_path(self, image: str) -> Path:
        """The file whose date says when the image of this derivation was last used."""
        return self.used / hexadecimal(image)


def _is_derivation(found: dict[str, Any]) -> bool:
    layers = found.get("layers")
    return (
        isinstance(found.get("spec"), dict)
        and isinstance(layers, list)
        and all(
            isinstance(row, dict)
            and isinstance(row.get("hash"), str)
            and isinstance(row.get("artifacts"), list)
            and all(isinstance(name, str) for name in row["artifacts"])
            for row in layers
        )
    )


def _present(path: Path, size: int | None) -> Path | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise StoreError(
            f"{path}: cannot be read: {e.strerror or e}",
            hint="check the folder's owner and permissions, or set FLYTE_BUILD_CACHE to another folder",
        ) from e
    return path if size is None or found.st_size == size else None
