"""An OCI image layout that something else made (Nix, Bazel, skopeo), taken in so that it can be pushed or loaded.

The blobs enter the store by their digests, verified; nothing is believed about derivations, so no build takes what came
this way for its own work, and ``store gc`` removes it like anything that nobody needs. Never builds, never fetches.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..kernel.errors import ArtifactError, InputError
from ..kernel.reporting import Reporter
from ..store import Session, Store, layout
from ..store.built import BuiltImage, BuiltLayer
from ..store.files import storing
from ..store.realisations import hexadecimal

__all__ = ["PREFIX", "adopt", "is_layout"]

PREFIX = "oci:"
_MANIFESTS = (layout.MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")


def is_layout(text: str | os.PathLike[str]) -> bool:
    """Whether a command line's FILE means a layout: ``oci:DIR``."""
    return os.fspath(text).startswith(PREFIX)


def adopt(directory: Path, store: Store, reporter: Reporter, *, name: str | None = None) -> list[BuiltImage]:
    """The images of the layout in ``directory``, with all their blobs in ``store``.

    ``name`` is the environment's name where the layout has one image or one for each platform; by default it is what
    ``org.opencontainers.image.ref.name`` says. Raises :class:`InputError` for a folder that is no layout, or an image
    without a name, and :class:`ArtifactError` where blobs are missing or are not what their digests say.
    """
    index = _json(directory / "index.json")
    if index is None or not (directory / "oci-layout").is_file():
        raise InputError(
            f"{directory}: expected an OCI image layout (oci-layout, index.json, blobs), found none",
            hint="`flyte-build build FILE -o oci:DIR`, `nix build` and `bazel build` each make one",
        )
    entries = list(_entries(directory, index))
    if not entries:
        raise InputError(f"{directory}: expected an image, found a layout without any")
    images: list[BuiltImage] = []
    with store.session() as session, reporter.work("take in", len(entries)) as progress:
        for entry in entries:
            images.append(_adopt(directory, entry, session, name))
            progress.advance()
    seen: set[tuple[str, str]] = set()
    for image in images:
        if (image.environment, image.platform) in seen:
            raise InputError(
                f"{directory}: two images would be {image.environment} on {image.platform}",
                hint="push them from layouts of their own, or leave out --name",
            )
        seen.add((image.environment, image.platform))
    return images


def _entries(directory: Path, index: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The manifests, also those below an index of several platforms."""
    for entry in layout.manifests(index):
        if entry.get("mediaType") == layout.INDEX:
            below = layout.parse(_read(directory, str(entry.get("digest")))) or {}
            for row in layout.manifests(below):
                yield {**row, "annotations": {**_notes(entry), **_notes(row)}}
        elif entry.get("mediaType") in _MANIFESTS:
            yield entry


def _adopt(directory: Path, entry: dict[str, Any], session: Session, name: str | None) -> BuiltImage:
    digest = str(entry.get("digest"))
    manifest = layout.parse(_read(directory, digest)) or {}
    try:
        config = layout.parse(_read(directory, _text(manifest["config"]["digest"]))) or {}
        platform = "/".join(str(config[key]) for key in ("os", "architecture", "variant") if config.get(key))
        rows = list(zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True))
        titles = [str(h.get("created_by", "")) for h in config.get("history") or [] if not h.get("empty_layer")]
        if len(titles) != len(rows):
            titles = ["layer"] * len(rows)
        layers = tuple(
            BuiltLayer(title, "", _text(row["digest"]), row["size"], _text(diff), True)
            for title, (row, diff) in zip(titles, rows, strict=True)
        )
        needed = layout.references(manifest)
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        raise ArtifactError(f"{directory}: {digest} is no image manifest with its configuration: {e}") from None
    size = 0
    for blob, expected in ((digest, len(_read(directory, digest))), *needed):
        _take(directory, blob, expected, session)
        size += expected
    annotations = _notes(entry)
    environment = name or _named(annotations, platform)
    if not environment:
        raise InputError(f"{directory}: the image {digest} has no name", hint="give it one with --name")
    derivation = layout.annotation(entry, layout.DERIVATION) or digest
    return BuiltImage(environment, platform, derivation, digest, size, layers, 0.0, True)


def _notes(entry: dict[str, Any]) -> dict[str, Any]:
    """The annotations of a descriptor, where they are any."""
    found = entry.get("annotations")
    return found if isinstance(found, dict) else {}


def _named(annotations: dict[str, Any], platform: str) -> str:
    """The environment's name out of ``ref.name``, which ours end with the platform."""
    named = str(annotations.get(layout.REF_NAME) or "")
    return named.removesuffix("-" + platform.replace("/", "-"))


def _take(directory: Path, digest: str, size: int, session: Session) -> None:
    _hex(directory, digest)
    if session.store.blob(digest, size) is not None:
        return
    source = _blob(directory, digest)
    temporary = session.temporary("blob")
    # A copy and no link: the folder is somebody else's, who may write to it.
    with storing(temporary, size):
        shutil.copyfile(source, temporary)
    with open(temporary, "rb") as f:
        found = "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()
    if found != digest or temporary.stat().st_size != size:
        raise ArtifactError(f"{source}: expected {size} bytes of {digest}, found {temporary.stat().st_size} of {found}")
    session.put(temporary, session.store.blob_path(digest))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a digest, found {value!r}")
    return value


def _hex(directory: Path, digest: str) -> str:
    try:
        return hexadecimal(digest)
    except ValueError:
        raise ArtifactError(f"{directory}: expected a SHA-256 digest, found `{digest}`") from None


def _blob(directory: Path, digest: str) -> Path:
    path = directory / "blobs" / "sha256" / _hex(directory, digest)
    if not path.is_file():
        raise ArtifactError(f"{directory}: the blob {digest} is missing")
    return path


def _read(directory: Path, digest: str) -> bytes:
    return _blob(directory, digest).read_bytes()


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return layout.parse(path.read_bytes())
    except OSError:
        return None
