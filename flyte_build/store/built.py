"""What building gives: an image of the store (or of a registry), and its layers, with how each came to be. Values."""

from __future__ import annotations

from ..kernel.values import dataclass

__all__ = ["BuiltImage", "BuiltLayer"]


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """One layer of a built image; ``reused``: it was in the store before, or a cache has it. Sizes in bytes.

    ``source``: the repository (``host/name``) where the blob is, ``None`` where it is in the store. ``pulled``: it came
    into the store from a registry. ``kind`` is the derivation's.
    """

    title: str
    derivation: str
    digest: str
    size: int
    diff_id: str
    reused: bool
    source: str | None = None
    pulled: bool = False
    kind: str = ""


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image in the store, under the name ``store.layout.ref_name(environment, platform)``.

    ``size``: bytes of all its blobs. ``seconds``: from the start of the build until this image was there; 0 for
    one that was (``reused``). ``local``: all blobs are in the store; otherwise only manifest and configuration are,
    the image has no name there, and some layers have a ``source``.
    """

    environment: str
    platform: str
    derivation: str
    manifest_digest: str
    size: int
    layers: tuple[BuiltLayer, ...]
    seconds: float
    reused: bool
    local: bool = True
