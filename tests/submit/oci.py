"""OCI images made for tests: layers from a list of entries, in gzip of one or of many members."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Made", "blob_of", "image", "tar_of"]


@dataclass(frozen=True)
class Made:
    """One entry: ``data`` a file's bytes, else ``link`` (symlink), ``hard`` (hard link), ``device``, or a folder."""

    name: str
    data: bytes | None = None
    mode: int = 0o644
    link: str | None = None
    hard: str | None = None
    device: bool = False


def tar_of(entries: Sequence[Made]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.mode = entry.mode
            if entry.data is not None:
                info.size = len(entry.data)
                tar.addfile(info, io.BytesIO(entry.data))
                continue
            info.type = tarfile.DIRTYPE
            if entry.link is not None:
                info.type, info.linkname = tarfile.SYMTYPE, entry.link
            elif entry.hard is not None:
                info.type, info.linkname = tarfile.LNKTYPE, entry.hard
            elif entry.device:
                info.type = tarfile.CHRTYPE
            tar.addfile(info)
    return out.getvalue()


def blob_of(tar: bytes, *, members: int = 3) -> bytes:
    """Gzip with ``members`` members, or the bare tar for 0."""
    if members == 0:
        return tar
    step = len(tar) // members + 1
    return b"".join(gzip.compress(tar[i : i + step], 1, mtime=0) for i in range(0, len(tar), step))


def _put(blobs: Path, data: bytes) -> str:
    blobs.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(data).hexdigest()
    (blobs / name).write_bytes(data)
    return f"sha256:{name}"


def image(blobs: Path, layers: Sequence[Sequence[Made]], *, env: Sequence[str] = (), workdir: str = "") -> str:
    """Write an image's blobs; gives its manifest's digest."""
    described, diff_ids = [], []
    for entries in layers:
        tar = tar_of(entries)
        blob = blob_of(tar)
        diff_ids.append(f"sha256:{hashlib.sha256(tar).hexdigest()}")
        described.append(
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": _put(blobs, blob), "size": len(blob)}
        )
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": list(env), "WorkingDir": workdir},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": _put(blobs, config),
            "size": len(config),
        },
        "layers": described,
    }
    return _put(blobs, json.dumps(manifest).encode())
