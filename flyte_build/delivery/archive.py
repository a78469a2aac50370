"""Images as one tar, for `docker load`, `podman load`, `ctr images import` and skopeo.

The archive is an OCI image layout. For Docker it also has ``manifest.json``, whose paths point into the layout, so that
every blob is there once and as it is in the store: engines take layers compressed. Those that read OCI layouts find
the manifest itself and keep its digest; the others make their own manifest of the same configuration. No compression.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..kernel.reporting import Reporter
from ..store import Store, layout
from ..store.built import BuiltImage
from ..store.realisations import hexadecimal
from . import tarball
from .layout import entry, gone, needed
from .tarball import Member, member

__all__ = [
    "CONTAINERD_NAME",
    "blob_members",
    "docker_manifest",
    "image_name",
    "layout_members",
    "write_archive",
]

_BLOBS = "blobs/sha256"
CONTAINERD_NAME = "io.containerd.image.name"
"""What containerd, Docker and podman read an image's full name from, in an index's descriptor."""

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*")


def image_name(environment: str, derivation: str) -> str:
    """``flyte-build/msa_env:52d331568e83``: within the grammar of references (distribution-spec, *Pulling manifests*).

    The tag is the derivation's beginning, so a name never comes to mean another image.
    """
    name = environment.lower()
    if not _COMPONENT.fullmatch(name):
        name = re.sub(r"[^a-z0-9]+", "-", name).strip("-") or "image"
    return f"flyte-build/{name[:200]}:{hexadecimal(derivation)[:12]}"


def write_archive(store: Store, images: Sequence[BuiltImage], path: Path, reporter: Reporter, *, docker: bool) -> Path:
    """Write ``images`` to the file ``path``; with ``docker``, also for engines that know no OCI layouts.

    Raises :class:`InputError` where something else than an archive is there, :class:`StoreError` where a blob is
    missing or damaged, or the disk refuses; then ``path`` is as it was.
    """
    path = path.absolute()
    tarball.check_target(path, "an archive")
    with store.reading():
        members = list(layout_members(store, images, docker=docker))
        tarball.write(path, members, reporter, f"write {path.name}")
    return path


def layout_members(store: Store, images: Sequence[BuiltImage], *, docker: bool) -> Iterator[Member]:
    """The layout's own files, then with ``docker`` Docker's list, then every blob once, by digest."""
    index = layout.empty_index()
    for image in images:
        described = entry(store, image)
        if docker:
            name = f"docker.io/{image_name(image.environment, image.derivation)}"
            described["annotations"] = {**described["annotations"], CONTAINERD_NAME: name}
        index = layout.put(index, described)
    yield member("oci-layout", layout.LAYOUT)
    yield member("index.json", layout.dump(index))
    if docker:
        yield member("manifest.json", docker_manifest(store, images))
    yield from blob_members(store, images)


def blob_members(store: Store, images: Iterable[BuiltImage], without: frozenset[str] = frozenset()) -> Iterator[Member]:
    """Every blob of ``images`` once, ordered by digest; those of ``without`` are left out."""
    wanted: dict[str, str] = {}
    for image in images:
        for digest in needed(store, image.manifest_digest):
            wanted.setdefault(digest, image.environment)
    for digest in sorted(wanted.keys() - without):
        path = store.blob(digest)
        if path is None:
            raise gone(wanted[digest], digest)
        size, sha256 = path.stat().st_size, hexadecimal(digest)
        yield Member(f"{_BLOBS}/{sha256}", size, sha256, path, store.root, wanted[digest])


def docker_manifest(store: Store, images: Iterable[BuiltImage]) -> bytes:
    """``manifest.json`` as `docker save` writes it: one object an image, with its names (Docker image spec v1.2)."""
    names: dict[str, set[str]] = {}
    for image in images:
        names.setdefault(image.manifest_digest, set()).add(image_name(image.environment, image.derivation))
    rows = []
    for digest, tags in sorted(names.items(), key=lambda item: (sorted(item[1]), item[0])):
        manifest = store.manifest(digest)
        if manifest is None:
            raise gone(min(tags), digest)
        rows.append(
            {
                "Config": _path(manifest["config"]["digest"]),
                "RepoTags": sorted(tags),
                "Layers": [_path(layer["digest"]) for layer in manifest["layers"]],
            }
        )
    return json.dumps(rows, separators=(",", ":"), sort_keys=True).encode() + b"\n"


def _path(digest: str) -> str:
    return f"{_BLOBS}/{hexadecimal(digest)}"
