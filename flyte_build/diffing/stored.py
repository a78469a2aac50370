"""What the store of this machine knows: images by environment, by derivation and by manifest, and built layers.

Only reads, a read-only store too. Law 5 holds without hashing again: what is in the store was verified on its way in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, cast

from ..deriving.derivation import LayerDerivation
from ..kernel.canonical import Json
from ..kernel.errors import InputError, StoreError
from ..store import ImageRealisation, Store, layout
from ..store.realisations import decode
from .contents import Contents, Held, of_spec
from .entries import of_identity
from .layouts import Chosen, choose, read_image

__all__ = ["by_hash", "from_layout", "held_layers", "last_built", "read_derivation", "read_named"]


def held_layers(store: Store, specs: Iterable[Mapping[str, Json]], *, files: bool) -> dict[str, Held]:
    """What the store has of the layers with these specs, by derivation; with their ``files`` or without."""
    held: dict[str, Held] = {}
    for spec in specs:
        derivation = LayerDerivation(spec, ()).hash
        found = store.layer(derivation)
        if found is None:
            continue
        listing = None
        if files:
            try:
                listing = {path: of_identity(identity) for path, identity in store.listing(derivation).items()}
            except ValueError as e:
                raise StoreError(
                    f"{store.listings}: the listing of layer {derivation}: {e}",
                    hint="run `flyte-build store verify`, then build again",
                ) from None
        held[derivation] = Held(found.digest, found.size, listing)
    return held


def read_derivation(store: Store, derivation: str, subject: str, *, files: bool = True) -> Contents | None:
    """The contents of an image that was built here, by its derivation's hash; ``None`` where it was not."""
    record = store.derivation(derivation)
    if record is None:
        return None
    spec = cast("Mapping[str, Json]", record["spec"])
    held = held_layers(store, cast("list[dict[str, Json]]", spec.get("layers") or []), files=files)
    return of_spec(spec, subject, "derivation", identity=derivation, held=held, sizes=_sizes(store, record))


def _sizes(store: Store, record: Mapping[str, Any]) -> dict[str, int]:
    """Sizes of the artifacts that were not collected yet."""
    wanted = {sha256 for layer in record.get("layers", ()) for sha256 in layer["artifacts"]}
    found = {sha256: store.artifact(sha256) for sha256 in wanted}
    return {sha256: path.stat().st_size for sha256, path in found.items() if path is not None}


def last_built(store: Store, environment: str, platform: str, *, files: bool = False) -> Contents | None:
    """The image that was last built here for this environment."""
    name = layout.ref_name(environment, platform)
    for entry in layout.manifests(store.index()):
        derivation = layout.annotation(entry, layout.DERIVATION)
        if layout.annotation(entry, layout.REF_NAME) == name and derivation is not None:
            return read_derivation(store, derivation, f"{environment} as last built", files=files)
    return None


def read_named(store: Store, name: str, platform: str | None, prefer: str) -> Contents:
    """The image that was last built here for the environment ``name``, or that somebody else put into the store's
    layout under that name. Raises :class:`InputError` where there is none."""
    found = last_built(store, name, platform or prefer, files=True)
    if found is not None:
        return found
    named = sorted(store.tags())
    if not named:
        raise InputError(
            f"store:{name}: no image was built here yet (the store is {store.root})",
            hint="build one with `flyte-build build FILE`, or set FLYTE_BUILD_CACHE to the store you mean",
        )
    if name not in named and layout.ref_name(name, platform or prefer) not in named:
        raise InputError(
            f"store:{name}: no image of that environment for {platform or prefer} was built here; "
            f"there are: {', '.join(named)}",
            hint="`FILE.py::ENV` is an environment as a file says it now, built or not",
        )
    return from_layout(store, choose(store.oci, name, platform, prefer), f"store:{name}")


def from_layout(store: Store, chosen: Chosen, subject: str) -> Contents:
    """An image of the store's own layout, by its derivation where it has one."""
    if chosen.derivation is not None:
        found = read_derivation(store, chosen.derivation, subject)
        if found is not None:
            return found
    return read_image(store.oci, chosen.digest, subject)


def by_hash(store: Store, prefix: str) -> Contents:
    """The image whose derivation's hash or manifest's digest begins with ``prefix`` (``sha256:…``).

    Raises :class:`InputError` where there is none, or more than one.
    """
    found: dict[str, tuple[str | None, str]] = {}
    for known, manifest in _realised(store):
        for digest in (known, manifest):
            if digest.startswith(prefix):
                found[digest] = known, manifest
    for entry in layout.manifests(store.index()):
        digest = str(entry.get("digest"))
        if digest.startswith(prefix):
            found.setdefault(digest, (layout.annotation(entry, layout.DERIVATION), digest))
    if len(found) > 1:
        rows = "\n".join(f"  {digest}  {_called(store, *pair)}" for digest, pair in sorted(found.items()))
        raise InputError(f"`{prefix}` is the beginning of {len(found)} digests:\n{rows}", hint="give more digits")
    if not found:
        raise _unknown(store, prefix)
    digest, (derivation_or_none, manifest) = next(iter(found.items()))
    return from_layout(
        store, Chosen(manifest, None, derivation_or_none, None), _called(store, derivation_or_none, digest)
    )


def _realised(store: Store) -> Iterator[tuple[str, str]]:
    """Derivation and manifest of every image that was built here; the derivation twice where the manifest is gone."""
    for path in sorted(store.realisations.glob("*.derivation")) if store.realisations.is_dir() else ():
        derivation, made = f"sha256:{path.stem}", None
        with suppress(FileNotFoundError):
            made = decode(path.with_suffix(".json").read_bytes())
        yield derivation, made.manifest if isinstance(made, ImageRealisation) else derivation


def _called(store: Store, derivation: str | None, digest: str) -> str:
    record = store.derivation(derivation) if derivation else None
    what = "manifest" if digest != derivation else "derivation"
    return (
        f"{record['environment']} ({record['platform']}), {what} {digest[7:19]}" if record else f"image {digest[7:19]}"
    )


def _unknown(store: Store, prefix: str) -> InputError:
    stem = prefix.removeprefix("sha256:")
    layers = [p for folder in (store.listings, store.blobs) if folder.is_dir() for p in folder.glob(f"{stem}*")]
    if layers:
        return InputError(
            f"`{prefix}` is a layer or another part of an image, expected an image",
            hint="`flyte-build plan FILE` shows the derivation of each environment",
        )
    return InputError(
        f"`{prefix}`: expected the beginning of an image's derivation or manifest digest, found none in {store.root}",
        hint="`flyte-build plan FILE` shows derivations; the image must have been built on this machine",
    )
