"""Images as root file systems: unpacked once, shared by hard links, ready to be entered read-only.

    roots/<manifest hex>/             the tree
    roots/<manifest hex>.json         its layers, so that unused layers can go
    layers/<diff hex>/                one layer, unpacked
    layers/<diff hex>.<tag>/          bytecode of that layer's modules for one Python, made on this machine

A tree appears under its name only when it is complete (rename), so a crash leaves a ``.partial`` that the next
use removes. Bytecode speeds imports up here and is no part of the image: two machines with the same image agree
on every other byte. Never fetches: the blobs are in the store before anybody asks for a root.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..kernel.errors import ArtifactError, StoreError
from ..kernel.reporting import Reporter, Silent
from ..store.checked import sound_blob
from ..store.files import storing
from ..store.locks import held, try_acquire
from .action import ImageRoot
from .bytecode import compile_root
from .sandbox.spec import GID, UID, Engine
from .unpack import merge, remove_tree, scoped, unpack

__all__ = ["Roots", "prepare"]

_TAR = ("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar")
PYTHONS = ("python3", "python")
# Where the sandbox mounts something: these exist in every root, and are no links.
_FOLDERS = (
    "proc", "dev", "run", "tmp", "var/tmp", "root", "home/flyte", "mnt/flyte", "etc/flyte/secrets",
)  # fmt: skip
_FILES = ("etc/resolv.conf", "etc/hosts")
USER = "flyte"


class Roots:
    """Root file systems under ``cache``, from the blobs of an OCI image layout (``blobs/sha256/<hex>``)."""

    def __init__(
        self, cache: Path, blobs: Path, engine: Engine | None = None, reporter: Reporter | None = None
    ) -> None:
        self._cache = cache
        self._roots = cache / "roots"
        self._layers = cache / "layers"
        self._locks = cache / "locks"
        self._blobs = blobs
        self._engine = engine
        self._reporter = reporter or Silent()

    def get(self, digest: str) -> ImageRoot:
        """The root of the image whose manifest is ``digest`` (``sha256:<hex>``), unpacked first where needed.

        Blocks; safe in several threads and processes. Raises :class:`ArtifactError` for blobs that are not what they
        should be and :class:`StoreError` for a disk that refuses.
        """
        name = digest.removeprefix("sha256:")
        manifest = self._json(digest)
        config = self._json(manifest["config"]["digest"])
        root = self._roots / name
        if not root.is_dir():
            with storing(root):
                for folder in (self._roots, self._layers, self._locks):
                    folder.mkdir(parents=True, exist_ok=True)
                with held(self._locks / f"root-{name}"):
                    if not root.is_dir():
                        self._make(root, manifest, config)
        said = config.get("config") or {}
        env = tuple(said.get("Env") or ())
        python = find_python(root, env)
        if python is None:
            raise ArtifactError(
                f"image {digest} has no Python in its PATH, so it cannot run a task",
                hint="use a base image with Python, or flyte.Image.from_debian_base()",
            )
        return ImageRoot(digest, root, python, env, said.get("WorkingDir") or "")

    def _json(self, digest: str) -> Any:
        path = self._blobs / digest.removeprefix("sha256:")
        try:
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != path.name:
                sound_blob(self._cache, path, f"image {digest}")
            return json.loads(data)
        except FileNotFoundError:
            raise StoreError(
                f"the store has no blob {digest}", hint="build the image again (`flyte-build build`)"
            ) from None

    def _make(self, root: Path, manifest: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        layers = manifest["layers"]
        diff_ids = config["rootfs"]["diff_ids"]
        with self._reporter.work(f"unpack image {root.name[:12]}", len(layers) + 1) as progress, _partial(root) as tree:
            folders = []
            for layer, diff_id in zip(layers, diff_ids, strict=True):
                folder = self._layer(layer, diff_id)
                merge(folder, tree)
                folders.append(folder)
                progress.advance()
            prepare(tree)
            if self._engine is not None:
                python = find_python(tree, tuple((config.get("config") or {}).get("Env") or ()))
                if python is not None:
                    compile_root(self._engine, tree, python, folders, self._reporter)
            progress.advance()
            (self._roots / f"{root.name}.json").write_text(json.dumps(diff_ids))
        self._sweep()

    def _layer(self, layer: Mapping[str, Any], diff_id: str) -> Path:
        if not str(layer["mediaType"]).startswith(_TAR):
            raise ArtifactError(f"layer {layer['digest']} is of type {layer['mediaType']}, expected {_TAR[0]}[+gzip]")
        folder = self._layers / diff_id.removeprefix("sha256:")
        with held(self._locks / f"layer-{folder.name}"):
            if not folder.is_dir():
                blob = self._blobs / str(layer["digest"]).removeprefix("sha256:")
                if not blob.is_file():
                    raise StoreError(
                        f"the store has no blob {layer['digest']}",
                        hint="build the image again (`flyte-build build`)",
                    )
                # What the store held for long comes into use: it is hashed before anything opens it as a tar.
                sound_blob(self._cache, blob, f"layer {layer['digest']}")
                with _partial(folder) as tree:
                    unpack(blob, diff_id, tree)
        return folder

    def _sweep(self) -> None:
        """Remove what crashed unpackings left, and layers of no root (their files live on in the roots)."""
        used = set()
        for listing in self._roots.glob("*.json"):
            if (self._roots / listing.stem).is_dir():
                used |= {d.removeprefix("sha256:") for d in json.loads(listing.read_text())}
        for folder in (*self._layers.iterdir(), *self._roots.glob("*.partial")):
            stem = folder.name.partition(".")[0]
            if folder.parent == self._layers and stem in used and not folder.name.endswith(".partial"):
                continue
            kind = "layer" if folder.parent == self._layers else "root"
            handle = try_acquire(self._locks / f"{kind}-{stem}")
            if handle is None:
                continue  # somebody is making it right now
            try:
                # A root that is being merged from this layer holds no lock on it, but is partial itself.
                if kind == "root" or not any(self._roots.glob("*.partial")):
                    remove_tree(folder)
            finally:
                os.close(handle)


@contextmanager
def _partial(final: Path) -> Iterator[Path]:
    """A fresh folder that becomes ``final`` at the end, or nothing."""
    tree = final.with_name(f"{final.name}.partial")
    remove_tree(tree)
    tree.mkdir()
    try:
        yield tree
    except BaseException:
        remove_tree(tree)
        raise
    tree.rename(final)


def prepare(root: Path) -> None:
    """Make the places where the sandbox mounts, and the user it runs as, in an image that lacks them."""
    for name in _FOLDERS:
        path = scoped(root, name)
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            path.unlink()
        path.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        path = scoped(root, name)
        if path.is_symlink() or not path.is_file():
            path.unlink(missing_ok=True)
            path.touch()
    _add_line(root, "etc/passwd", UID, f"{USER}:x:{UID}:{GID}:{USER}:/home/{USER}:/bin/sh")
    _add_line(root, "etc/group", GID, f"{USER}:x:{GID}:")


def _add_line(root: Path, name: str, number: int, line: str) -> None:
    path = scoped(root, name)
    text = path.read_text(errors="surrogateescape") if path.is_file() else ""
    if any(row.split(":")[2:3] == [str(number)] for row in text.splitlines()):
        return
    # A new file: the old one is a hard link to a layer that other images share.
    path.unlink(missing_ok=True)
    if text and not text.endswith("\n"):
        text += "\n"
    path.write_text(text + line + "\n", errors="surrogateescape")


def find_python(root: Path, env: tuple[str, ...]) -> str | None:
    """The first interpreter in the image's PATH, as a path inside."""
    variables = dict(item.partition("=")[::2] for item in env)
    for folder in (variables.get("PATH") or os.defpath).split(":"):
        for name in PYTHONS:
            if folder.startswith("/") and scoped(root, f"{folder}/{name}", follow=True).is_file():
                return f"{folder}/{name}"
    return None
