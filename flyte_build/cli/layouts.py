"""``push`` and ``load`` of images that something else built, with Nix or Bazel say: FILE is ``oci:DIR``.

Parses, calls, prints; ``delivery.adopting`` takes the images in.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

from .making import Asked, Made, text_of

__all__ = ["load_layout", "push_layout"]


def push_layout(asked: Asked, name: str | None) -> None:
    """Push the images of ``oci:DIR``; ``name`` is their environment's, by default the layout's own."""
    from ..delivery.adopting import PREFIX, adopt
    from ..remote.connecting import connected
    from ..remote.publishing import publish
    from ..remote.target import Target
    from ..settings import read_settings
    from ..store import Store
    from .progress import make_reporter

    started = time.monotonic()
    settings = read_settings(Path.cwd())
    if asked.registry:
        settings = dataclasses.replace(settings, registry=asked.registry)
    reporter, store = make_reporter(asked.quiet or asked.as_json), Store()
    with connected(settings, reporter) as known:
        reading, writing = known.registry(patient=False), known.registry(patient=True)
        target = Target.of(settings, writing, tuple(dict.fromkeys(asked.tags)), None, reading)
        # What is taken in has no name in the store, so only this keeps `store gc` away.
        with store.reading():
            built = adopt(Path(str(asked.file).removeprefix(PREFIX)), store, reporter, name=name)
            pushed = publish(built, store, target, reporter)
        if settings.sign_key is not None:
            from ..supply.signing import sign_pushed

            sign_pushed(pushed, settings.sign_key, writing)
    sys.stdout.write(text_of(asked, Made(built, pushed, [], None, time.monotonic() - started)))


def load_layout(asked: Asked, name: str | None) -> None:
    """Put the images of ``oci:DIR`` into the engine ``asked.load``."""
    from ..delivery.adopting import PREFIX, adopt
    from ..delivery.daemons import load
    from ..store import Store
    from .progress import make_reporter

    assert asked.load is not None
    started = time.monotonic()
    reporter, store = make_reporter(asked.quiet or asked.as_json), Store()
    with store.reading():
        built = adopt(Path(str(asked.file).removeprefix(PREFIX)), store, reporter, name=name)
        loaded = load(store, built, asked.load, reporter)
    sys.stdout.write(text_of(asked, Made(built, [], loaded, None, time.monotonic() - started)))
