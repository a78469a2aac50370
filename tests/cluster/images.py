"""Images for the cluster made of a few files, pushed to its registry by the distribution protocol and nothing of ours.

flyte-build's own images are what the tests are about; that the cluster starts must not hang on them.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence

import httpx

from flyte_build.kernel.platforms import host_platform

__all__ = ["push_image"]

_OCI = "application/vnd.oci.image"


def push_image(registry: str, name: str, files: Mapping[str, bytes], entrypoint: Sequence[str]) -> str:
    """``HOST/NAME@sha256:…`` of an image with these files, each executable, for this machine's platform."""
    layer = _tar(files)
    os, architecture = host_platform().split("/")[:2]
    config = {
        "architecture": architecture,
        "os": os,
        "config": {"Entrypoint": list(entrypoint), "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    with httpx.Client(base_url=f"http://{registry}/v2/{name}/", timeout=60, trust_env=False) as client:
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _blob(client, f"{_OCI}.config.v1+json", json.dumps(config).encode()),
            "layers": [_blob(client, f"{_OCI}.layer.v1.tar+gzip", gzip.compress(layer, 1, mtime=0))],
        }
        data = json.dumps(manifest).encode()
        headers = {"Content-Type": f"{_OCI}.manifest.v1+json"}
        client.put(f"manifests/{_digest(data)}", content=data, headers=headers).raise_for_status()
    return f"{registry}/{name}@{_digest(data)}"


def _blob(client: httpx.Client, kind: str, data: bytes) -> dict[str, object]:
    digest = _digest(data)
    if client.head(f"blobs/{digest}").status_code != 200:
        place = client.post("blobs/uploads/").raise_for_status().headers["Location"]
        url = httpx.URL(place).copy_merge_params({"digest": digest})
        headers = {"Content-Type": "application/octet-stream"}
        client.put(url, content=data, headers=headers).raise_for_status()
    return {"mediaType": kind, "digest": digest, "size": len(data)}


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folders = {"tmp", *(parent for path in files for parent in _parents(path))}
        for path in sorted(folders):
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if path == "tmp" else 0o755
            archive.addfile(entry)
        for path, data in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
