"""Build and push as one: what a cache said and does not hold is found out at the latest when it is pushed.

Then the cache is not believed about it, it is built, and the push goes on. Never prints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..kernel.reporting import Reporter
from ..store import Store
from .blobs import SourceGone
from .cache import RemoteCache
from .publishing import PushedImage, publish
from .target import Target

if TYPE_CHECKING:
    from ..store.built import BuiltImage

__all__ = ["push_built"]


def push_built(
    make: Callable[[], list[BuiltImage]],
    store: Store,
    target: Target,
    shared: RemoteCache,
    reporter: Reporter,
    check: Callable[[list[BuiltImage]], None] | None = None,
    sending: Callable[[list[BuiltImage]], None] | None = None,
) -> tuple[list[BuiltImage], list[PushedImage]]:
    """Push what ``make`` builds, with ``shared`` or without; ``check`` sees it before anything is sent, and
    ``sending`` what of it the registry lacks.

    Raises what ``make``, ``check`` and :func:`~.publish.publish` raise, the latter's :class:`SourceGone` only where no
    cache is to blame.
    """
    while True:
        # What is composed of layers elsewhere has no name in the store, which alone would keep it there.
        with store.reading():
            built = make()
            if check is not None:
                check(built)
            try:
                return built, publish(built, store, target, reporter, sending)
            except SourceGone as e:
                if not shared.believes(e.repository):
                    raise
                gone = [(i, x) for i in built for x in i.layers if (x.digest, x.source) == (e.digest, e.repository)]
                for derivation in {d for image, layer in gone for d in (image.derivation, layer.derivation)}:
                    shared.distrust(derivation, e.repository, e.message)
