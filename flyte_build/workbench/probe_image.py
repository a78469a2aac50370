"""An image without a program, for trying out whether nodes pull: a few hundred bytes, the same from everybody."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

from ..kernel.canonical import Json, canonical
from ..registry import IMAGE_INDEX, IMAGE_MANIFEST, Reference
from ..supply.pushing import push_bytes

if TYPE_CHECKING:
    from ..registry.client import Registry

__all__ = ["REPOSITORY", "push_probe_image"]

REPOSITORY = "flyte-build-check"
_PLATFORMS = ("amd64", "arm64")
_CONFIG, _LAYER = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"
_TEXT = b"`flyte-build target check` pulls this image to see whether nodes can. It may be removed at any time.\n"


def push_probe_image(registry: Registry, place: str) -> Reference:
    """See to it that the image is below ``place`` (a host, with a path or without); its reference by digest.

    Raises :class:`RegistryError`, and :class:`InputError` for a place that is none.
    """
    repository = Reference.parse(f"{place}/{REPOSITORY}")
    layer = _layer()
    manifests: list[Json] = []
    for architecture in _PLATFORMS:
        config: Json = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/there-is-no-program"], "Env": ["PATH=/"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
        said: Json = {
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "config": push_bytes(registry, repository, canonical(config), _CONFIG),
            "layers": [push_bytes(registry, repository, layer, _LAYER)],
        }
        manifest = canonical(said)
        put = registry.put_manifest(repository, manifest, IMAGE_MANIFEST)
        platform: Json = {"os": "linux", "architecture": architecture}
        manifests.append(
            {"mediaType": IMAGE_MANIFEST, "digest": put.digest, "size": len(manifest), "platform": platform}
        )
    index = canonical({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": manifests})
    return repository.with_digest(registry.put_manifest(repository, index, IMAGE_INDEX).digest)


def _layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo("flyte-build-check.txt")
        entry.size, entry.mode = len(_TEXT), 0o444
        archive.addfile(entry, io.BytesIO(_TEXT))
    return out.getvalue()
