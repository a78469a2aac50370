"""``push`` and ``load`` of images that something else built, with Nix or Bazel say: an OCI image layout's folder."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from ..delivery import load
from ..delivery.adopting import PREFIX, adopt, is_layout
from ..kernel.reporting import Reporter
from ..remote.connecting import connected
from ..remote.publishing import publish
from ..remote.target import Target
from ..settings import read_settings
from ..store import Store
from .making import Images

__all__ = ["is_layout", "load_layout", "push_layout"]


def push_layout(
    layout: str,
    reporter: Reporter,
    *,
    registry: str | None = None,
    tags: Sequence[str] = (),
    name: str | None = None,
    store: Store | None = None,
) -> Images:
    """Push the images of ``layout`` (``oci:DIR``) below ``registry`` (default: the settings' of the current folder).

    ``name`` is their environment's, by default the layout's own. Signed where the settings have a key. Raises what
    reading the layout and pushing raise.
    """
    started = time.monotonic()
    settings = read_settings(Path.cwd())
    if registry:
        settings = dataclasses.replace(settings, registry=registry)
    store = store or Store()
    with connected(settings, reporter) as known:
        reading, writing = known.registry(patient=False), known.registry(patient=True)
        target = Target.of(settings, writing, tuple(dict.fromkeys(tags)), None, reading)
        # What is taken in has no name in the store, so only this keeps `store gc` away.
        with store.reading():
            built = adopt(_folder(layout), store, reporter, name=name)
            pushed = publish(built, store, target, reporter)
        if settings.sign_key is not None:
            from ..supply.signing import sign_pushed

            sign_pushed(pushed, settings.sign_key, writing)
    return Images(tuple(built), tuple(pushed), seconds=time.monotonic() - started)


def load_layout(
    layout: str, into: str, reporter: Reporter, *, name: str | None = None, store: Store | None = None
) -> Images:
    """Put the images of ``layout`` into the engine ``into`` (``docker`` or ``podman``)."""
    started = time.monotonic()
    store = store or Store()
    with store.reading():
        built = adopt(_folder(layout), store, reporter, name=name)
        loaded = load(store, built, into, reporter)
    return Images(tuple(built), loaded=tuple(loaded), seconds=time.monotonic() - started)


def _folder(layout: str) -> Path:
    return Path(layout.removeprefix(PREFIX))
