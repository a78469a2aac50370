"""Images changed by hand in the store: what a law 3 that does not hold, or somebody's hand, would leave behind."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flyte_build.assemble.image import canonical
from flyte_build.store import Store

__all__ = ["Member", "repacked", "tampered"]


@dataclass
class Member:
    """One member of a layer's tar, to be changed in place."""

    info: tarfile.TarInfo
    data: bytes


Change = Callable[[list[Member]], object]


def repacked(blob: bytes, change: Change) -> tuple[bytes, str]:
    """A layer's blob with its members changed, and its diff_id."""
    members = []
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as tar:
        for info in tar:
            file = tar.extractfile(info)
            members.append(Member(info, file.read() if file is not None and info.isreg() else b""))
    change(members)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            member.info.size = len(member.data)
            tar.addfile(member.info, io.BytesIO(member.data) if member.info.isreg() else None)
    data = out.getvalue()
    return gzip.compress(data, 1, mtime=0), "sha256:" + hashlib.sha256(data).hexdigest()


def tampered(
    store: Store,
    manifest: str,
    layer: int = 0,
    change: Change | None = None,
    *,
    config: Callable[[dict[str, Any]], object] | None = None,
    recompress: bool = False,
) -> str:
    """The digest of a copy of the image, in the same store, with one layer's members or its configuration changed."""
    document = json.loads(store.blob_path(manifest).read_bytes())
    settings = json.loads(store.blob_path(document["config"]["digest"]).read_bytes())
    row = document["layers"][layer]
    if change is not None:
        blob, settings["rootfs"]["diff_ids"][layer] = repacked(store.blob_path(row["digest"]).read_bytes(), change)
        row |= {"digest": _put(store, blob), "size": len(blob)}
    elif recompress:
        blob = gzip.compress(gzip.decompress(store.blob_path(row["digest"]).read_bytes()), 9, mtime=0)
        row |= {"digest": _put(store, blob), "size": len(blob)}
    if config is not None:
        config(settings)
    data = canonical(settings)
    document["config"] |= {"digest": _put(store, data), "size": len(data)}
    return _put(store, canonical(document))


def _put(store: Store, data: bytes) -> str:
    with store.session() as session:
        return session.put_blob(data)
