"""Images of the store as an OCI image layout of their own, for skopeo, umoci, podman, or a USB stick.

The folder holds these images and nothing else, shares the store's bytes where the file system can, and depends on the
images alone. It appears whole or not at all. Never changes the store.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from .building import BuiltImage
from .errors import InputError, StoreError
from .store import Store, layout
from .store.files import fsync_directory, share, storing

__all__ = ["export_layout"]


def export_layout(store: Store, images: Iterable[BuiltImage], directory: Path) -> Path:
    """Write ``images`` to ``directory``, which is absent, empty, or an OCI layout (then it is replaced).

    Raises :class:`InputError` for a directory that holds something else, :class:`StoreError` where an image's blobs are
    not in the store or the disk refuses.
    """
    directory = directory.absolute()
    _check(directory)
    entries = [_entry(store, image) for image in images]
    with storing(directory.parent), store.reading():
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            _write(store, entries, temporary)
            _replace(temporary, directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return directory


def _check(directory: Path) -> None:
    if not os.path.lexists(directory):
        return
    if not directory.is_dir() or directory.is_symlink():
        raise InputError(f"{directory}: expected a folder to write an OCI layout to, found something else")
    if any(directory.iterdir()) and not (directory / "oci-layout").is_file():
        raise InputError(
            f"{directory}: expected an empty folder or an OCI layout, found other files",
            hint="name a new folder",
        )


def _entry(store: Store, image: BuiltImage) -> layout.Document:
    path = store.blob(image.manifest_digest)
    if path is None:
        raise _gone(image.environment, image.manifest_digest)
    size = path.stat().st_size
    return layout.descriptor(image.manifest_digest, size, image.environment, image.platform, image.derivation)


def _write(store: Store, entries: list[layout.Document], folder: Path) -> None:
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    index = layout.empty_index()
    for entry in entries:
        index = layout.put(index, entry)
        for digest in _needed(store, entry):
            target = blobs / digest.removeprefix("sha256:")
            if not target.exists():
                source = store.blob(digest)
                if source is None:
                    raise _gone(entry["annotations"][layout.REF_NAME], digest)
                share(source, target)
    (folder / "oci-layout").write_bytes(layout.LAYOUT)
    (folder / "index.json").write_bytes(layout.dump(index))
    os.chmod(folder, 0o755)
    for path in (*blobs.iterdir(), folder / "oci-layout", folder / "index.json"):
        with open(path, "rb") as f:
            os.fsync(f.fileno())
    fsync_directory(blobs)
    fsync_directory(folder)


def _needed(store: Store, entry: layout.Document) -> Iterator[str]:
    yield entry["digest"]
    for digest, _ in layout.references(store.manifest(entry["digest"]) or {}):
        yield digest


def _replace(temporary: Path, directory: Path) -> None:
    """Put the finished folder in place; what it replaces is moved aside first, as no folder is renamed over another."""
    if directory.exists() and any(directory.iterdir()):
        aside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        os.rename(directory, aside / "old")
        os.rename(temporary, directory)
        shutil.rmtree(aside)
    else:
        os.rename(temporary, directory)
    fsync_directory(directory.parent)


def _gone(name: str, digest: str) -> StoreError:
    return StoreError(
        f"{name}: expected the blob {digest} in the store, found none", hint="build the image again, then export it"
    )
