"""Which images a store has: their layers, what they share, and when each was last used. Only asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import layout
from .contents import Contents
from .realisations import ImageRealisation, decode

__all__ = ["StoredImage", "stored_images"]


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One image that was built here, or pulled, as one environment's: those of several are there several times.

    ``current``: the store's name for its environment and platform leads to it; others were replaced by a later build.
    ``layers``: digest → bytes. ``alone``: bytes of those layers that no other image here has, which is what removing it
    would free. ``used``: Unix time. ``unpacked``: a run can start at once."""

    environment: str
    platform: str
    digest: str
    derivation: str
    layers: dict[str, int]
    alone: int
    used: float
    current: bool
    unpacked: bool

    @property
    def size(self) -> int:
        """Bytes of its layers together."""
        return sum(self.layers.values())


def stored_images(store: Contents) -> list[StoredImage]:
    """Every whole image in ``store``: the current ones first, then the lately used; incomplete ones are left out."""
    tags: dict[str, list[str]] = {}
    for tag, digest in store.tags().items():
        tags.setdefault(digest, []).append(tag)
    found: list[tuple[str, str, str, str, dict[str, int], float]] = []
    for path in sorted(store.realisations.glob("*.json")):
        realised = _realised(path)
        record = store.derivation(f"sha256:{path.stem}")
        if realised is None or record is None or store.image(f"sha256:{path.stem}") is None:
            continue
        manifest = store.manifest(realised.manifest) or {}
        rows = manifest.get("layers") or []
        layers = {str(row["digest"]): int(row["size"]) for row in rows}
        used = path.stat().st_mtime
        with suppress(OSError):
            used = max(used, store.used_path(f"sha256:{path.stem}").stat().st_mtime)
        name, platform = str(record["environment"]), str(record["platform"])
        found.append((name, platform, realised.manifest, f"sha256:{path.stem}", layers, used))
    # Two derivations of one image (same bytes) hold the same layers, and free nothing alone.
    holders = Counter(digest for one in {f[2]: f for f in found}.values() for digest in one[4])
    out = [
        StoredImage(
            called,
            platform,
            digest,
            derivation,
            layers,
            sum(size for layer, size in layers.items() if holders[layer] == 1),
            used,
            bool(tags.get(digest)),
            (store.roots / digest.removeprefix("sha256:")).is_dir(),
        )
        for name, platform, digest, derivation, layers, used in found
        for called in _names(tags.get(digest, ()), platform) or (name,)
    ]
    return sorted(out, key=lambda i: (not i.current, -i.used, i.environment, i.platform))


def _names(tags: Iterable[str], platform: str) -> list[str]:
    """The environments that the store's names of an image are of: several may have one image."""
    suffix = layout.ref_name("x", platform)[1:]
    return sorted(tag.removesuffix(suffix) for tag in tags)


def _realised(path: Path) -> ImageRealisation | None:
    try:
        found = decode(path.read_bytes())
    except OSError:
        return None
    return found if isinstance(found, ImageRealisation) else None
