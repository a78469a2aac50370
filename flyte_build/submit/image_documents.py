"""What a run needs of an image's manifest and configuration: documents that anyone may have made, with any shape.

OCI image-spec v1.1, manifest.md and config.md; Docker's schema 2 has the same fields. Reads bytes, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from ..kernel.documents import parse_object
from ..kernel.errors import ArtifactError
from ..kernel.values import dataclass

__all__ = ["Config", "LayerOf", "Manifest", "read_config", "read_manifest"]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAR = ("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar")


@dataclass(frozen=True, slots=True)
class LayerOf:
    """A layer's blob, by ``digest`` (``sha256:<hex>``)."""

    digest: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """``config`` is a digest; ``layers`` are in the order in which they lie, the lowest first."""

    config: str
    layers: tuple[LayerOf, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """``diff_ids`` name the layers' tar streams, ``env`` has ``NAME=value``; ``entrypoint`` and ``command`` are what it
    runs where nobody says."""

    diff_ids: tuple[str, ...]
    env: tuple[str, ...]
    workdir: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def read_manifest(data: bytes, digest: str) -> Manifest:
    """The manifest that is ``data``. Raises :class:`ArtifactError` for anything else."""
    title = f"image {digest}: its manifest"
    document = _object(data, title)
    config, layers = document.get("config"), document.get("layers")
    if not isinstance(layers, list):
        _refuse(title, "a list of `layers`", layers)
    return Manifest(_digest(config, f"{title}, `config`"), tuple(_layer(x, f"{title}, `layers`") for x in layers))


def read_config(data: bytes, digest: str, manifest: Manifest) -> Config:
    """The configuration that is ``data``, of the image ``digest``. Raises :class:`ArtifactError` for anything else, and
    where it does not name as many layers as ``manifest``."""
    title = f"image {digest}: its configuration"
    document = _object(data, title)
    rootfs, said = document.get("rootfs"), document.get("config") or {}
    ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(ids, list) or not all(isinstance(x, str) and _DIGEST.fullmatch(x) for x in ids):
        _refuse(title, "`rootfs.diff_ids`, a list of sha256:<64 hexadecimal digits>", ids)
    if len(ids) != len(manifest.layers):
        _refuse(title, f"{len(manifest.layers)} `diff_ids`, as its manifest has layers", len(ids))
    if not isinstance(said, dict):
        _refuse(title, "an object `config`", said)
    env, workdir = said.get("Env") or [], said.get("WorkingDir") or ""
    if not isinstance(env, list) or not all(isinstance(x, str) and "\0" not in x for x in env):
        _refuse(title, "`Env`, a list of texts without NUL", env)
    if not isinstance(workdir, str) or "\0" in workdir:
        _refuse(title, "`WorkingDir`, a text without NUL", workdir)
    entrypoint, command = (_words(said.get(key) or [], f"{title}, `{key}`") for key in ("Entrypoint", "Cmd"))
    return Config(tuple(ids), tuple(env), workdir, entrypoint, command)


def _words(found: object, title: str) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(x, str) and "\0" not in x for x in found):
        _refuse(title, "a list of texts without NUL", found)
    return tuple(found)


def _object(data: bytes, title: str) -> Mapping[str, Any]:
    try:
        return parse_object(data)
    except ValueError as e:
        raise ArtifactError(f"{title}: expected JSON: {e}", hint=_HINT) from e


def _layer(found: object, title: str) -> LayerOf:
    digest = _digest(found, title)
    kind = found.get("mediaType") if isinstance(found, dict) else None
    if not isinstance(kind, str) or not kind.startswith(_TAR):
        raise ArtifactError(f"layer {digest} is of type {kind}, expected {_TAR[0]}[+gzip]")
    return LayerOf(digest, kind)


def _digest(found: object, title: str) -> str:
    digest = found.get("digest") if isinstance(found, dict) else None
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        _refuse(title, "a `digest`, sha256:<64 hexadecimal digits>", digest)
    return digest


_HINT = "build or pull the image again: its digest is right, so it was made like this"


def _refuse(title: str, expected: str, found: object) -> NoReturn:
    raise ArtifactError(f"{title}: expected {expected}, found {str(found)[:80]!r}", hint=_HINT)
