"""Locks and images for tests of the supply chain: artifacts that are in a store, manifests that are in a registry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flyte_build.locks.base import BaseFacts, Distribution, LockedBase, LockedBlob, LockedLayer
from flyte_build.locks.nouns import Lock, LockedDeb, LockedPlatform, LockedWheel
from flyte_build.recipe import CopyFiles, PipInstall
from flyte_build.registry import IMAGE_INDEX, IMAGE_MANIFEST
from flyte_build.remote.publishing import PushedImage
from flyte_build.store import Store

from .debs import build_deb
from .recipes import AMD64, deb, lock_of, recipe_of, sha, wheel
from .registry import RegistryServer
from .wheels import build_wheel

__all__ = ["DIGEST", "base", "everything", "push", "put_image", "stored_deb", "stored_wheel"]

DIGEST = "sha256:" + "4b" * 32
_MIT = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: Expat\n"


def stored_wheel(store: Store, name: str, version: str = "1.0", *fields: str) -> LockedWheel:
    """A wheel in ``store`` whose METADATA has ``fields``, and its row of a lock."""
    text = "\n".join(["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *fields, "", "About it."])
    path = build_wheel(store.root, name, version, metadata={"METADATA": text})
    return replace(wheel(name, version), file=path.name, **_kept(store, path))


def stored_deb(
    store: Store, name: str, version: str = "1.0-1", *, source: str = "", copyright: str = _MIT
) -> LockedDeb:
    """A .deb in ``store``, built from ``source`` (``name (version)``), and its row of a lock."""
    files = {f"usr/share/doc/{name}/copyright": copyright.encode(), f"usr/lib/{name}": b"x"}
    path = build_deb(store.root, name, version, files, control={"Source": source} if source else {})
    return replace(deb(name, version), source=source.split(" ")[0] or name, **_kept(store, path))


def _kept(store: Store, path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    store.artifacts.mkdir(parents=True, exist_ok=True)
    path.rename(store.artifact_path(sha256))
    return {"size": len(data), "sha256": sha256}


def base() -> LockedBase:
    """A slim image's base of two layers, with a Python distribution of its own and a dpkg database."""
    layers = tuple(
        LockedLayer("application/vnd.oci.image.layer.v1.tar+gzip", f"sha256:{sha(n)}", 9, f"sha256:{sha(n + 'd')}")
        for n in ("one", "two")
    )
    facts = BaseFacts(
        python="/usr/local/bin/python3.12",
        python_full="3.12.4",
        system="debian bookworm",
        debs=("libc6 2.36-9 amd64", "zlib1g 1:1.2.13 amd64"),
        distributions=(Distribution("pip", "24.0"), Distribution("fold", "0.1", ("usr/local/lib/fold",))),
    )
    blob = LockedBlob(IMAGE_MANIFEST, f"sha256:{sha('manifest')}", 700)
    config = LockedBlob("application/vnd.oci.image.config.v1+json", f"sha256:{sha('config')}", 300)
    reference = f"registry.example:5000/team/python:3.12-slim@{blob.digest}"
    return LockedBase(reference, None, blob, config, layers, {}, (), facts)


def everything(store: Store, *, with_base: bool = False) -> Lock:
    """A lock with every kind of thing in it: licences clear, unclear and absent, a local wheel, copied files."""
    recipe = recipe_of("fold", PipInstall((), wheels=("dist/own-1.0-py3-none-any.whl",)), CopyFiles("src", ".", True))
    wheels = (
        stored_wheel(store, "fold", "1.0", "License-Expression: mit OR apache-2.0"),
        stored_wheel(store, "vague", "2.0", "License: BSD"),
        stored_wheel(store, "own", "1.0"),
        replace(wheel("absent", "3.0"), name="absent"),
    )
    debs = (
        stored_deb(store, "libfold1", "1:2.0-1+b1", source="fold (1:2.0-1)"),
        stored_deb(store, "plain", copyright="See upstream.\n"),
    )
    lock = lock_of(recipe, wheels, debs)
    if with_base:
        platform = LockedPlatform("", "", (), wheels, base())
        lock = replace(lock, platforms={AMD64: platform})
    return lock


def put_image(server: RegistryServer, repository: str, *, mark: str = "") -> str:
    """An image manifest in the registry without a request; its digest."""
    config = json.dumps({"mark": mark}).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": server.put_blob(repository, config),
            "size": len(config),
        },
        "layers": [],
    }
    return _put(server, repository, IMAGE_MANIFEST, document)


def push(server: RegistryServer, name: str, platforms: Mapping[str, str]) -> PushedImage:
    """What ``publish`` says of an image whose manifests (platform → digest) are there; of several, an index is made."""
    digest = next(iter(platforms.values()))
    if len(platforms) > 1:
        rows = [{"mediaType": IMAGE_MANIFEST, "digest": d, "size": 2} for d in platforms.values()]
        digest = _put(server, name, IMAGE_INDEX, {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": rows})
    return PushedImage("env", f"{server.host}/{name}@{digest}", digest, platforms, (), 0, 0, 0)


def _put(server: RegistryServer, repository: str, media_type: str, document: dict[str, Any]) -> str:
    data = json.dumps(document).encode()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    server.repository(repository).manifests[digest] = (media_type, data)
    return digest
