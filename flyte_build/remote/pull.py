"""Layers from a registry into the store, as good as if they had been made here.

A blob is taken by its digest, and its tar stream must have the diff_id that was told; its listing is read from its own
bytes. What fails any of it is not stored, and the cache is not believed again. Never decides which layers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..assemble.base import copy_base
from ..assemble.errors import AssembleError
from ..deriving.derivation import LayerDerivation
from ..kernel.errors import ArtifactError, RegistryError
from ..kernel.reporting import Progress, Reporter
from ..registry.reference import Reference
from ..store import LayerRealisation, Session
from ..store.files import storing
from ..store.locks import Busy
from .cache import RemoteCache
from .cache_entries import KnownLayer, Unbelievable
from .listing import read_listing
from .threads import Stopped, each

if TYPE_CHECKING:
    from ..registry.client import Registry

__all__ = ["base_layer", "pull_bases", "pull_layers"]


def pull_layers(
    session: Session,
    remote: RemoteCache,
    wanted: Mapping[str, KnownLayer],
    reporter: Reporter,
    stop: threading.Event,
) -> set[str]:
    """Bring the layers of these derivations into the store; the derivations that are there now.

    What the cache has wrong or not at all is said, and left out. Raises :class:`StoreError`.
    """
    if not wanted:
        return set()
    total = sum(known.size for known in wanted.values())
    with reporter.work("pull layers", total, unit="bytes") as bar:
        work = _Pull(session, remote, bar, stop)
        came = each(lambda item: work.one(*item), list(wanted.items()), stop)
    session.sync()
    return {derivation for derivation, there in zip(wanted, came, strict=True) if there}


def pull_bases(
    session: Session,
    registry: Registry,
    wanted: Mapping[str, tuple[LayerDerivation, str]],
    reporter: Reporter,
    stop: threading.Event,
) -> set[str]:
    """Bring layers of registry bases into the store, as they are: derivation → layer, and ``host/repository``.

    What they hold is no cache's word: digest and diff_id are in the lock. Gives their derivations. Raises
    :class:`RegistryError` where one cannot be had, :class:`ArtifactError` where it is not what was locked.
    """
    if not wanted:
        return set()
    known = {d: base_layer(layer, repository) for d, (layer, repository) in wanted.items()}
    with reporter.work("pull the base", sum(k.size for k in known.values()), unit="bytes") as bar:

        def one(derivation: str) -> None:
            with _making(session, derivation):
                if session.store.layer(derivation) is None:
                    blob = _blob(session, registry, known[derivation], bar, stop)
                    made = _read_base(wanted[derivation][0], blob)
                    session.put_layer(derivation, made, {}, blob)

        each(one, list(wanted), stop)
    session.sync()
    return set(wanted)


def base_layer(layer: LayerDerivation, repository: str) -> KnownLayer:
    """A base's layer, as its derivation tells of it."""
    spec = cast("Mapping[str, Any]", layer.spec)
    return KnownLayer(repository, spec["digest"], spec["size"], spec["diff_id"])


def _read_base(layer: LayerDerivation, blob: Path) -> LayerRealisation:
    try:
        with storing(blob), open(blob, "rb") as source, open(os.devnull, "wb") as out:
            found = copy_base(layer.spec, source, out)
    except AssembleError as e:
        raise ArtifactError(str(e), hint="the lock does not fit the base; lock it again") from None
    return LayerRealisation(found.digest, found.size, found.diff_id, found.diff_size)


def _blob(session: Session, registry: Registry, known: KnownLayer, bar: Progress, stop: threading.Event) -> Path:
    """The layer's blob in a file of the session's own, with the digest that it should have."""

    def advance(amount: int) -> None:
        if stop.is_set():
            raise Stopped
        bar.advance(amount)

    blob = session.temporary("pulled")
    with storing(blob, known.size):
        registry.pull_blob(Reference.parse(known.repository), known.digest, known.size, blob, advance=advance)
    return blob


@contextmanager
def _making(session: Session, derivation: str) -> Iterator[None]:
    try:
        with session.making(derivation):
            yield
    except Busy:
        raise Stopped from None


class _Pull:
    def __init__(self, session: Session, remote: RemoteCache, bar: Progress, stop: threading.Event) -> None:
        self._session, self._remote, self._bar, self._stop = session, remote, bar, stop
        self._registry: Registry = remote.registry(patient=False)

    def one(self, derivation: str, known: KnownLayer) -> bool:
        try:
            with _making(self._session, derivation):
                # Another build may have made or brought it while we waited.
                if self._session.store.layer(derivation) is None:
                    self._bring(derivation, known)
        except (RegistryError, Unbelievable) as e:
            self._remote.distrust(derivation, known.repository, str(e))
            return False
        return True

    def _bring(self, derivation: str, known: KnownLayer) -> None:
        blob = _blob(self._session, self._registry, known, self._bar, self._stop)
        with storing(blob):
            diff_id, size, listing = read_listing(blob, known.diff_size or None)
        if diff_id != known.diff_id:
            raise Unbelievable(f"expected the diff_id {known.diff_id} in {known.digest}, found {diff_id}")
        self._session.put_layer(derivation, LayerRealisation(known.digest, known.size, diff_id, size), listing, blob)
