"""Images of the store as an OCI image layout of their own, for skopeo, umoci, podman, or a USB stick.

The folder holds these images and nothing else, shares the store's bytes where the file system can, and depends on the
images alone. It appears whole or not at all. Never changes the store.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..kernel.errors import InputError, StoreError
from ..kernel.outputs import writing
from ..kernel.scratch import scratch
from ..store import Store, layout
from ..store.built import BuiltImage
from ..store.checked import damaged
from ..store.files import fsync_directory, hash_file, share

__all__ = ["check_folder", "entry", "export_layout", "gone", "needed"]


def export_layout(store: Store, images: Iterable[BuiltImage], directory: Path) -> Path:
    """Write ``images`` to ``directory``, which is absent, empty, or an OCI layout (then it is replaced).

    Raises :class:`InputError` for a directory that holds something else, :class:`StoreError` where an image's blobs are
    not in the store, or are damaged there, or the disk refuses.
    """
    directory = directory.absolute()
    check_folder(directory)
    with store.reading():
        entries = [entry(store, image) for image in images]
        with writing(directory):
            directory.parent.mkdir(parents=True, exist_ok=True)
            with scratch(directory.parent, f".{directory.name[:100]}") as temporary:
                _write(store, entries, temporary, directory)
                _replace(temporary, directory)
    return directory


def check_folder(directory: Path) -> None:
    """Raise :class:`InputError` unless ``directory`` is free, empty, or an OCI layout, which may be replaced."""
    if not os.path.lexists(directory):
        return
    if not directory.is_dir() or directory.is_symlink():
        raise InputError(f"{directory}: expected a folder to write an OCI layout to, found something else")
    if any(directory.iterdir()) and not (directory / "oci-layout").is_file():
        raise InputError(
            f"{directory}: expected an empty folder or an OCI layout, found other files",
            hint="name a new folder",
        )


def entry(store: Store, image: BuiltImage) -> layout.Document:
    """The index's descriptor of ``image``; raises :class:`StoreError` where the store has no manifest of it."""
    path = store.blob(image.manifest_digest)
    if path is None:
        raise gone(image.environment, image.manifest_digest)
    stated = store.manifest(image.manifest_digest)
    return layout.descriptor(
        image.manifest_digest, path.stat().st_size, stated, image.environment, image.platform, image.derivation
    )


def _write(store: Store, entries: list[layout.Document], folder: Path, named: Path) -> None:
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    index = layout.empty_index()
    for described in entries:
        index = layout.put(index, described)
        for digest in needed(store, described["digest"]):
            target = blobs / digest.removeprefix("sha256:")
            if not target.exists():
                source = store.blob(digest)
                name = described["annotations"][layout.REF_NAME]
                if source is None:
                    raise gone(name, digest)
                share(source, target, lambda _, needed: writing(named, needed))
                # Whatever it was when it was stored: what leaves is hashed. A link is the store's own file.
                if (found := hash_file(target)[0]) != target.name:
                    raise damaged(store.root, source, found, name)
    (folder / "oci-layout").write_bytes(layout.LAYOUT)
    (folder / "index.json").write_bytes(layout.dump(index))
    os.chmod(folder, 0o755)
    for path in (*blobs.iterdir(), folder / "oci-layout", folder / "index.json"):
        with open(path, "rb") as f:
            os.fsync(f.fileno())
    fsync_directory(blobs)
    fsync_directory(folder)


def needed(store: Store, manifest: str) -> Iterator[str]:
    """The digests of an image's blobs: the manifest itself, configuration, layers."""
    yield manifest
    for digest, _ in layout.references(store.manifest(manifest) or {}):
        yield digest


def _replace(temporary: Path, directory: Path) -> None:
    """Put the finished folder in place; what it replaces is moved aside first, as no folder is renamed over another."""
    if directory.exists() and any(directory.iterdir()):
        with scratch(directory.parent, f".{directory.name[:100]}") as aside:
            os.rename(directory, aside / "old")
            os.rename(temporary, directory)
    else:
        os.rename(temporary, directory)
    fsync_directory(directory.parent)


def gone(name: str, digest: str) -> StoreError:
    """That the store lacks a blob of the image or environment ``name``."""
    return StoreError(
        f"{name}: expected the blob {digest} in the store, found none",
        hint="`flyte-build build` makes it anew: then run this again",
    )
