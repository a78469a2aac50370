"""Modules of wheels from the layers that hold them: where a wheel is not here, but what became of it is known.

Asked are the store's listings, then those of the shared caches that are configured. A listing from a cache is that
cache's word, as a layer from there is: it must be under its digest and list the wheels of the layer it is asked for; it
is kept for this answer only. Fetches no layer, and raises nothing: what cannot be had is left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from ....deriving.nouns import LayerDerivation
from ....kernel.errors import StoreError
from ....locks.nouns import LockedWheel
from .dividing import divided

if TYPE_CHECKING:
    from ....remote.cache import RemoteCache
    from ....store import Store

__all__ = ["WheelLayers"]


class WheelLayers:
    """The wheels' layers among ``derivations``, which is called when the first wheel is asked for.

    ``shared`` are the caches that are asked, ``None`` for none.
    """

    def __init__(
        self, derivations: Callable[[], Iterable[LayerDerivation]], store: Store, shared: RemoteCache | None
    ) -> None:
        self._derivations = derivations
        self._store = store
        self._shared = shared
        self._holding: dict[str, list[LayerDerivation]] | None = None
        self._modules: dict[str, frozenset[str]] = {}
        self._repositories: dict[str, str] = {}

    def __call__(
        self, wheels: Sequence[LockedWheel], exactly: Callable[[LockedWheel], frozenset[str] | None]
    ) -> dict[str, frozenset[str]]:
        """The modules of those of ``wheels`` that are in a layer that is known, by SHA-256.

        ``exactly`` gives the modules of a wheel that was looked into itself, if one was.
        """
        for ask in (self._stored, self._told):
            left = {w.sha256: deque(self._layers(w.sha256)) for w in wheels if w.sha256 not in self._modules}
            asked: set[str] = set()
            while turn := {x.hash: x for own in left.values() if own for x in (own.popleft(),)}:
                new = {d: x for d, x in turn.items() if d not in asked}
                asked |= new.keys()
                for derivation, listing in ask(new).items():
                    if not self._learn(new[derivation], listing, exactly) and ask == self._told:
                        self._doubt(derivation)
                left = {sha256: own for sha256, own in left.items() if sha256 not in self._modules}
        return {w.sha256: self._modules[w.sha256] for w in wheels if w.sha256 in self._modules}

    def _learn(
        self,
        layer: LayerDerivation,
        listing: Mapping[str, str],
        exactly: Callable[[LockedWheel], frozenset[str] | None],
    ) -> bool:
        """Whether ``listing`` is one of these wheels'."""
        wheels = [artifact.source for artifact in layer.artifacts if isinstance(artifact.source, LockedWheel)]
        known = {w.sha256: modules for w in wheels if (modules := exactly(w)) is not None}
        found = divided(listing, _site(layer), wheels, known)
        self._modules = (found or {}) | self._modules
        return found is not None

    def _layers(self, sha256: str) -> Sequence[LayerDerivation]:
        """Those that hold all of a wheel; the one with the fewest others first, as it leaves the fewest questions."""
        if self._holding is None:
            self._holding = {}
            every = {x.hash: x for x in self._derivations() if x.kind == "wheels" and "part" not in x.spec}
            for layer in sorted(every.values(), key=lambda x: len(x.artifacts)):
                for artifact in layer.artifacts:
                    self._holding.setdefault(artifact.sha256, []).append(layer)
        return self._holding.get(sha256, ())

    def _stored(self, layers: Mapping[str, LayerDerivation]) -> dict[str, Mapping[str, str]]:
        found = {}
        for derivation in layers:
            try:
                if self._store.layer(derivation) is not None:
                    found[derivation] = self._store.listing(derivation)
            except StoreError:
                continue
        return found

    def _told(self, layers: Mapping[str, LayerDerivation]) -> Mapping[str, Mapping[str, str]]:
        if self._shared is None or not layers:
            return {}
        known = self._shared.layers(list(layers.values()))
        self._repositories |= {derivation: found.repository for derivation, found in known.items()}
        return self._shared.listings(known)

    def _doubt(self, derivation: str) -> None:
        assert self._shared is not None
        self._shared.distrust(derivation, self._repositories[derivation], "its list of paths has other wheels")


def _site(layer: LayerDerivation) -> str:
    venv, python = cast(str, layer.spec["venv"]), cast(str, layer.spec["python"])
    return f"{venv.strip('/')}/lib/python{python}/site-packages"
