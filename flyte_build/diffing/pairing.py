"""Which layers two images share: by digest where both have one, else by derivation; where neither tells, not at all.

Sharing is what makes a pull or a push cheap (law 7), so new and gone layers are counted in bytes. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..kernel.canonical import Json
from .contents import Layer, total

__all__ = ["LayerDifference", "pair", "same"]


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """``shared`` are the layers of both (each as the one and as the other describes it, in the later one's order),
    ``gone`` those that only the earlier one has, ``new`` those that only the later one has.

    ``vague_*`` are layers of which it cannot be said whether the other has them. ``reordered``: the shared ones do
    not lie in the same order. ``pairs`` are the shared ones as positions.
    """

    shared: tuple[tuple[Layer, Layer], ...]
    gone: tuple[Layer, ...]
    new: tuple[Layer, ...]
    vague_before: tuple[Layer, ...]
    vague_after: tuple[Layer, ...]
    pairs: tuple[tuple[int, int], ...]

    @property
    def reordered(self) -> bool:
        """Whether the shared layers lie in another order; ``pairs`` are in the later one's."""
        return [a for a, _ in self.pairs] != sorted(a for a, _ in self.pairs)

    @property
    def retitled(self) -> tuple[tuple[Layer, Layer], ...]:
        """Shared layers of ours under other titles: the same bytes, but another history, so another image."""
        return tuple((a, b) for a, b in self.shared if a.derivation and b.derivation and a.title != b.title)

    @property
    def empty(self) -> bool:
        return not (self.gone or self.new or self.reordered or self.retitled)

    @property
    def shared_bytes(self) -> int | None:
        return total(b.size if b.size is not None else a.size for a, b in self.shared)

    @property
    def new_bytes(self) -> int | None:
        return total(layer.size for layer in self.new)

    @property
    def gone_bytes(self) -> int | None:
        return total(layer.size for layer in self.gone)

    def to_json(self) -> Json:
        return {
            "shared": [_merged(a, b).to_json() for a, b in self.shared],
            "new": [layer.to_json() for layer in self.new],
            "gone": [layer.to_json() for layer in self.gone],
            "retitled": [{"before": a.title, "after": b.title} for a, b in self.retitled],
            "reordered": self.reordered,
            "shared_bytes": self.shared_bytes,
            "new_bytes": self.new_bytes,
            "gone_bytes": self.gone_bytes,
        }


def same(a: Layer, b: Layer) -> bool | None:
    """Whether two layers are one; ``None`` where they have no kind of identity in common."""
    if a.digest is not None and b.digest is not None:
        return a.digest == b.digest
    if a.derivation is not None and b.derivation is not None:
        return a.derivation == b.derivation
    return None


def pair(before: Sequence[Layer], after: Sequence[Layer]) -> LayerDifference:
    """Pair the layers of two images, each at most once."""
    free = dict(enumerate(before))
    pairs: list[tuple[int, int]] = []
    for j, layer in enumerate(after):
        found = next((i for i, other in free.items() if same(other, layer)), None)
        if found is not None:
            del free[found]
            pairs.append((found, j))
    taken = {j for _, j in pairs}
    rest = [layer for j, layer in enumerate(after) if j not in taken]
    vague_before = [a for a in free.values() if any(same(a, b) is None for b in rest)]
    vague_after = [b for b in rest if any(same(a, b) is None for a in free.values())]
    return LayerDifference(
        shared=tuple((before[i], after[j]) for i, j in pairs),
        gone=tuple(a for a in free.values() if a not in vague_before),
        new=tuple(b for b in rest if b not in vague_after),
        vague_before=tuple(vague_before),
        vague_after=tuple(vague_after),
        pairs=tuple(pairs),
    )


def _merged(a: Layer, b: Layer) -> Layer:
    """What both together know of one layer."""
    return Layer(
        title=b.title,
        kind=b.kind or a.kind,
        derivation=b.derivation or a.derivation,
        digest=b.digest or a.digest,
        size=b.size if b.size is not None else a.size,
    )
