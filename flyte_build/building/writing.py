"""Writes one layer into the store: by the core beside its artifacts' hashes, or by whatever its kind needs.

Never decides which layers are made, nor when.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..assemble.errors import AssembleError
from ..deriving.nouns import LayerDerivation
from ..kernel.errors import ArtifactError, FetchError
from ..kernel.reporting import Reporter
from ..native.feeding import Unfit
from ..native.wheels import write_layer
from ..store import LayerRealisation, Session
from ..store.files import storing
from ..store.realisations import packed
from .ahead import begun

if TYPE_CHECKING:
    from ..assemble.blob import Inflate
    from ..assemble.results import LayerResult
    from ..assemble.zstd import Unpack
    from .ahead import Begun

__all__ = ["Writing", "artifact_error", "cancelled"]


class Writing:
    """For one build: ``jobs`` layers at a time; ``scratch`` is where packages are unpacked, ``stop`` calls it off."""

    def __init__(self, session: Session, reporter: Reporter, stop: threading.Event, scratch: Path) -> None:
        self._session, self._store = session, session.store
        self._reporter = reporter
        self._stop = stop
        self._scratch = scratch
        self._writing = threading.Semaphore()

    def at_once(self, jobs: int) -> None:
        """From now on so many layers at a time."""
        self._writing = threading.Semaphore(jobs)

    def write(self, layer: LayerDerivation, ahead: Begun | None = None) -> LayerResult:
        """The layer, in the store; ``ahead``: the core was given it a while ago."""
        by_core = ahead or begun(self._session, layer)
        written: tuple[LayerResult, bytes, Path] | None = None
        if by_core is not None:
            with by_core, suppress(Unfit):
                if ahead is None:
                    by_core.arrange()
                with self._writing:
                    if ahead is None:
                        by_core.open()
                        by_core.feed()
                    listing = packed(by_core.listing)
                    written = by_core.finish(self._check), listing, by_core.blob
        result, listing, blob = written or self._as_ever(layer)
        for warning in result.warnings:
            self._reporter.warn(warning)
        made = LayerRealisation(result.digest, result.size, result.diff_id, result.diff_size)
        self._session.put_layer(layer.hash, made, listing, blob)
        return result

    def _as_ever(self, layer: LayerDerivation) -> tuple[LayerResult, bytes, Path]:
        """A layer that the core does not make by itself, or in which something is not in order."""
        for artifact in layer.artifacts:
            self._check(0)
            if self._session.artifact(artifact.sha256, artifact.size, artifact.file) is None:
                raise FetchError(
                    f"{artifact.file}: expected SHA-256 {artifact.sha256} in the store, found none any more",
                    hint="something removed it meanwhile: run this again, and it is fetched",
                )
        blob = self._session.temporary("layer")
        with storing(blob):
            try:
                with self._writing, open(blob, "xb") as out:
                    result = write_layer(
                        layer.spec,
                        lambda sha256: str(self._store.artifact_path(sha256)),
                        out,
                        scratch=str(self._scratch),
                        inflating=_isal,
                        progress=self._check,
                        unpack=_zstandard(layer),
                    )
            except AssembleError as e:
                raise artifact_error(e, layer.title) from None
        return result, packed(result.listing), blob

    def _check(self, _: int) -> None:
        if self._stop.is_set():
            raise cancelled()


def _isal() -> Inflate:
    """What Python inflates with: zlib, but faster."""
    from isal import isal_zlib

    return cast("Inflate", isal_zlib)


def _zstandard(layer: LayerDerivation) -> Unpack | None:
    """What unpacks the layer's packages, if it has any that need it."""
    if layer.kind != "conda":
        return None
    from .zstandard import library

    return library()


def cancelled() -> Exception:
    """What calls a build off. Downloads come with an HTTP client, which takes longer to load than a small layer takes
    to make."""
    from ..sources.download import Cancelled

    return Cancelled()


def artifact_error(e: AssembleError, where: str) -> ArtifactError:
    """What the assembler refused, in ``where`` (a layer's title or an environment), as an error for the user."""
    return ArtifactError(
        f"{where}: {e}",
        hint="the bytes are those that were locked, so the fault is in them: lock another version, or leave it out",
    )
