"""What the picture shows: environments, their images, layers with sizes, who shares and who extends what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..plan import ImagePlan, Plan
from ..plan import State as Planned

__all__ = ["Graph", "Layer", "Node", "make_graph"]

State = Literal["cached", "build", "failing"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, once for the whole picture. ``size``: bytes of its blob where it is built, else of what it is made of.

    ``holders`` are the environments whose image has it; ``rank`` numbers the shared layers from the largest (0) on and
    is ``None`` for a layer that only one image has.
    """

    key: str
    title: str
    kind: str
    size: int
    cached: bool
    holders: tuple[str, ...]
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """An environment with its image. ``extends`` is the environment whose image this one has all layers of, and more.

    ``depth`` is the longest way to it from an environment that nothing depends on, ``group`` what it is shown with: the
    module that makes it, where the picture knows of several.
    """

    name: str
    state: State
    why: str
    layers: tuple[str, ...]
    size: int
    depends_on: tuple[str, ...]
    depth: int
    extends: str | None = None
    group: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """All of it; ``layers`` by key, in the order of their first image."""

    nodes: tuple[Node, ...]
    layers: Mapping[str, Layer]
    title: str

    @property
    def stored(self) -> int:
        """Bytes of all layers, each once."""
        return sum(layer.size for layer in self.layers.values())

    @property
    def sum(self) -> int:
        """Bytes of all images, as if nothing was shared."""
        return sum(node.size for node in self.nodes)


def make_graph(
    plan: Plan,
    depends_on: Mapping[str, Sequence[str]],
    failing: Collection[str] = (),
    title: str = "",
    groups: Mapping[str, str] | None = None,
) -> Graph:
    """The picture of one platform's images. ``failing`` are environments that a check complains about; ``groups`` says
    of environments what they belong to."""
    holders: dict[str, list[str]] = {}
    for image in plan.images:
        for layer in image.layers:
            holders.setdefault(layer.derivation, []).append(image.environment)
    layers: dict[str, Layer] = {}
    for image in plan.images:
        for planned, derived in zip(image.layers, image.derivation.layers, strict=True):
            size = planned.size if planned.size is not None else derived.fetch_size
            layers.setdefault(
                planned.derivation,
                Layer(
                    key=planned.derivation,
                    title=planned.title,
                    kind=planned.kind,
                    # A system layer is made from every .deb and holds next to nothing of them.
                    size=size if planned.size is not None or planned.kind != "system" else 1 << 20,
                    cached=planned.state != "build",
                    holders=tuple(holders[planned.derivation]),
                ),
            )
    shared = sorted((x for x in layers.values() if len(x.holders) > 1), key=lambda x: (-x.size, x.key))
    for rank, drawn in enumerate(shared):
        layers[drawn.key] = replace(drawn, rank=rank)
    names = [image.environment for image in plan.images]
    edges = {name: tuple(d for d in depends_on.get(name, ()) if d in names) for name in names}
    depth = _depths(names, edges)
    nodes = tuple(
        Node(
            name=image.environment,
            state="failing" if image.environment in failing else _drawn(image.state),
            why=image.why,
            layers=tuple(layer.derivation for layer in image.layers),
            size=sum(layers[layer.derivation].size for layer in image.layers),
            depends_on=edges[image.environment],
            depth=depth[image.environment],
            extends=_extends(image, plan.images),
            group=(groups or {}).get(image.environment, ""),
        )
        for image in plan.images
    )
    return Graph(nodes, layers, title)


def _depths(names: Sequence[str], edges: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """``names`` have dependencies before their dependents, as a plan does."""
    depth = dict.fromkeys(names, 0)
    for name in reversed(names):
        for dependency in edges[name]:
            depth[dependency] = max(depth[dependency], depth[name] + 1)
    return depth


def _extends(image: ImagePlan, images: Sequence[ImagePlan]) -> str | None:
    """The image with the most layers of those that are a proper part of this one, beyond what all images share."""
    common = set.intersection(*({x.derivation for x in i.layers} for i in images))
    own = {x.derivation for x in image.layers}
    best: ImagePlan | None = None
    for other in images:
        theirs = {x.derivation for x in other.layers}
        if other.platform == image.platform and common < theirs < own and (not best or len(theirs) > len(best.layers)):
            best = other
    return best.environment if best else None


def _drawn(state: Planned) -> Literal["cached", "build"]:
    """What is in the store or in a registry is drawn alike: neither has to be built."""
    return "build" if state == "build" else "cached"
