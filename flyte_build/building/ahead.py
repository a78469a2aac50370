"""A layer of wheels in the hands of the core, and the one that is given to it while the rest of a build is loaded.

The core hashes a layer's artifacts beside what it makes of them, where a chain of rounds costs a third. Nothing is
believed sooner for it: a layer is one only when each of its artifacts was found to be what its name says. Whatever is
not in order ends here without a word, and is done, and said, as ever. Never decides which layers are made.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from ..deriving.nouns import ImageDerivation, LayerDerivation
from ..kernel.errors import FlyteBuildError
from ..native.feeding import Unfit
from ..native.wheels import making
from ..store import Session, locks
from ..store.checked import proof
from ..store.files import storing
from ..store.realisations import hexadecimal

if TYPE_CHECKING:
    from ..assemble.results import LayerResult
    from ..native.wheels import Making
    from ..store.checked import Proof

__all__ = ["Ahead", "Begun", "begun"]

# Bytes: what is less is made before a thread has begun.
_SOON = 1 << 20


class Begun:
    """A layer that the core makes; ``blob``: where. A context, which ends what was not finished."""

    def __init__(self, session: Session, layer: LayerDerivation, making: Making) -> None:
        self.blob = session.temporary("layer")
        self._session, self._layer, self._making = session, layer, making
        self._proofs: dict[str, Proof] = {}
        self._closing = ExitStack()
        self._closing.callback(making.close)
        self._finished = False

    def open(self) -> None:
        """Begin with the artifacts' hashes. Raises :class:`Unfit`, as all of these, where it is to be made as ever."""
        with storing(self.blob):
            out = open(self.blob, "xb", buffering=0)  # noqa: SIM115
            self._closing.callback(out.close)
        for artifact in self._layer.artifacts:
            how = None if self._session.sound(artifact.sha256) else proof(self._session.store, artifact.sha256)
            if how is not None:
                self._proofs[artifact.sha256] = how
        try:
            self._making.open(out, list(self._proofs))
        except OSError:
            raise Unfit from None

    def arrange(self) -> None:
        """Read what its wheels hold."""
        self._making.arrange()

    def feed(self) -> None:
        """Begin with the layer: both of the above are done."""
        self._making.feed()

    @property
    def listing(self) -> Mapping[str, str]:
        """What the layer will hold, once it is begun."""
        return self._making.listing

    def finish(self, progress: Callable[[int], object]) -> LayerResult:
        """Wait until it is made, and its artifacts were found to be sound."""
        made = self._making.finish(progress)
        if any(sha256 != found for sha256, found in self._making.hashes.items()):
            raise Unfit
        for sha256, how in self._proofs.items():
            self._session.proven(sha256, how)
        self._finished = True
        return made

    def __enter__(self) -> Begun:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()
        if not self._finished:
            self.blob.unlink(missing_ok=True)


def begun(session: Session, layer: LayerDerivation) -> Begun | None:
    """The layer for the core to make, all of whose artifacts are here; ``None``: it is to be made as ever."""
    store = session.store
    if layer.kind != "wheels" or any(store.artifact(a.sha256, a.size) is None for a in layer.artifacts):
        return None
    by_core = making(layer.spec, lambda sha256: str(store.artifact_path(sha256)))
    return Begun(session, layer, by_core) if by_core is not None else None


class Ahead:
    """The largest layer that ``images`` lack, begun at once; of another kind than wheels its artifacts are hashed."""

    def __init__(self, session: Session, images: Sequence[ImageDerivation]) -> None:
        self._session = session
        self._closing = ExitStack()
        self._begun: dict[str, Begun] = {}
        layers = sorted({x.hash: x for image in images for x in image.layers}.values(), key=lambda x: -x.fetch_size)
        layer = next((x for x in layers if x.fetch_size < _SOON or session.store.layer(x.hash) is None), None)
        if layer is not None and layer.fetch_size >= _SOON and not self._begin(layer):
            threading.Thread(target=self._hash, args=(layer,), name="look_ahead", daemon=True).start()

    def _begin(self, layer: LayerDerivation) -> bool:
        """Whether the layer is being made."""
        with storing(self._session.store.locks):
            handle = locks.try_acquire(self._session.store.locks / hexadecimal(layer.hash))
        if handle is None:
            return False
        with ExitStack() as stack:
            stack.callback(os.close, handle)
            # Another build, which had the lock, may have made it.
            by_core = begun(self._session, layer) if self._session.store.layer(layer.hash) is None else None
            if by_core is None:
                return False
            stack.enter_context(by_core)
            try:
                by_core.open()
                by_core.arrange()
                by_core.feed()
            except Unfit:
                return False
            self._closing = stack.pop_all()
            self._begun[layer.hash] = by_core
        return True

    def _hash(self, layer: LayerDerivation) -> None:
        """What is wrong with an artifact is said when it is used."""
        from ..native.hashing import whole_file

        hashing = whole_file()
        with suppress(FlyteBuildError, OSError):
            for artifact in sorted(layer.artifacts, key=lambda a: -a.size):
                self._session.artifact(artifact.sha256, artifact.size, artifact.file, hashing)

    def holds(self, derivation: str) -> Begun | None:
        """The layer that was begun, if it is this one; whoever asks finishes it. Its lock is held."""
        return self._begun.pop(derivation, None)

    def close(self) -> None:
        """End what nobody asked for, and let go of the layer."""
        self._closing.close()
