"""How much of what a waiting pod lacks is free, for its line: as far as this account may look.

The scheduler says of which resource nodes have too little, and not how much there is. What nodes can allot less what
their pods ask for is: that takes the right to list both in the whole cluster, which a run does not need, and which an
administrator may give. With less, less is said. One look serves everybody who waits, and costs next to nothing of the
time. Only reads.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from ...kernel.values import dataclass, field, replace
from ..template import quantity
from .api import ApiError, Cluster
from .fit import asked_of_pod, lacks_room, misfit, shown
from .preflight import nodes_of
from .sight import Sight
from .watching import PODS

__all__ = ["Room"]

Object = Mapping[str, Any]
# Those that hold something: bound, and not over.
_HOLDING = {"fieldSelector": "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"}
# A look holds for so long (seconds), and for so many times what it took: a large cluster is looked at seldom.
_HOLDS, _TIMES = 15.0, 100.0
# So long a line waits for a look.
_WAIT = 2.0
# A line that is as it was is told anew after so long; where more wait than these, that much later.
_ANEW, _MANY = 60.0, 20


@dataclass(frozen=True, slots=True)
class _Seen:
    """``nodes`` are ``None`` where they may not be listed; ``held`` is what pods have, by node and by name, of the
    whole cluster or (``all`` is false) of the namespace."""

    nodes: list[Object] | None
    held: Mapping[str, Mapping[str, Decimal]]
    all: bool
    until: float


@dataclass(slots=True)
class Room:
    """What is free in ``cluster``, for any number of attempts that wait for a node."""

    cluster: Cluster
    clock: Callable[[], float] = time.monotonic
    _seen: _Seen | None = field(default=None, init=False)
    _looking: asyncio.Task[None] | None = field(default=None, init=False)
    _told: dict[str, tuple[str, str, float]] = field(default_factory=dict, init=False)
    _refused: set[str] = field(default_factory=set, init=False)

    async def told(self, name: str, sight: Sight) -> Sight:
        """``sight`` of the attempt ``name``, with what is free of what its pod lacks, where it waits for that."""
        if sight.unplaced is None:
            self.forget(name)
            return sight
        line, more, since = self._told.get(name, ("", "", 0.0))
        if line != sight.line or self.clock() - since >= _ANEW * max(1.0, len(self._told) / _MANY):
            known = await self._look()
            more = _free(sight.unplaced, sight.lacks, self._seen) if self._seen is not None else ""
            self._told[name] = (sight.line, more, self.clock() if known else -math.inf)
        if not more:
            return sight
        outcome = sight.outcome and replace(sight.outcome, message=f"{sight.outcome.message}{more}")
        return replace(sight, line=f"{sight.line}{more}", outcome=outcome)

    def forget(self, name: str) -> None:
        """Nothing is told of it any more."""
        if self._told.pop(name, None) is not None and not self._told:
            self._seen = None  # as large as the cluster

    async def _look(self) -> bool:
        """Look, unless the last look holds; whoever comes meanwhile waits for the same one, and nobody for long: false
        where it takes longer."""
        if self._looking is None or self._looking.done():
            if self._seen is not None and self.clock() < self._seen.until:
                return True
            self._looking = asyncio.create_task(self._take())
        done, _ = await asyncio.wait([self._looking], timeout=_WAIT)
        return bool(done)

    async def _take(self) -> None:
        began = self.clock()
        try:
            nodes, held, whole = await asyncio.to_thread(self._ask)
        except (ApiError, OSError):
            nodes, held, whole = None, {}, True  # nothing is known, and is asked for again
        took = self.clock() - began
        self._seen = _Seen(nodes, held, whole, self.clock() + max(_HOLDS, _TIMES * took))

    def _ask(self) -> tuple[list[Object] | None, dict[str, dict[str, Decimal]], bool]:
        nodes = None if "nodes" in self._refused else nodes_of(self.cluster)
        if nodes is None:
            self._refused.add("nodes")  # what may be asked for does not change while a run lasts
        if nodes is not None and "pods" not in self._refused:
            try:
                return nodes, self._held("/api/v1/pods"), True
            except ApiError as e:
                if e.status not in (403, 404):
                    raise
                self._refused.add("pods")
        return nodes, self._held(self.cluster.path(PODS)), False

    def _held(self, path: str) -> dict[str, dict[str, Decimal]]:
        found: dict[str, dict[str, Decimal]] = {}
        for pod in self._pods(path):
            spec = pod.get("spec") or {}
            there = found.setdefault(str(spec.get("nodeName") or ""), {})
            for name, value in asked_of_pod(spec).items():
                there[name] = there.get(name, Decimal(0)) + value
        return found

    def _pods(self, path: str) -> Iterator[Object]:
        more = ""
        while True:
            query = {**_HOLDING, "limit": "500", **({"continue": more} if more else {})}
            page = self.cluster.request("GET", path, query)
            yield from page.get("items") or ()
            more = str((page.get("metadata") or {}).get("continue") or "")
            if not more:
                return


def _free(pod: Object, lacks: tuple[str, ...], seen: _Seen) -> str:
    """What is free of what ``pod`` (its ``spec``) lacks, in words to go on with."""
    if seen.nodes is None:
        if seen.all:
            return ""
        sums = {n: sum((held.get(n, Decimal(0)) for held in seen.held.values()), Decimal(0)) for n in lacks}
        have = ", ".join(f"{shown(n, v) if v else 'none'} of {n}" for n, v in sums.items())
        return f"; pods of this namespace have {have}"
    able = [node for node in seen.nodes if lacks_room(pod, node)]
    if not able:
        never = misfit(pod, seen.nodes)
        return f"; {never}" if never else ""
    told = []
    for name in lacks:
        free = [_left(node, name, seen.held) for node in able]
        most, words = max(free), f"{shown(name, sum(free, Decimal(0)))} of {name} on {len(able)} nodes"
        told.append(f"{words}, at most {shown(name, most)} on one" if len(able) > 1 else words.removesuffix("s"))
    less = "" if seen.all else ", less what pods of other namespaces have"
    return f"; free: {'; '.join(told)}{less}"


def _left(node: Object, name: str, held: Mapping[str, Mapping[str, Decimal]]) -> Decimal:
    there = quantity(str(((node.get("status") or {}).get("allocatable") or {}).get(name, 0)))
    return max(there - held.get(node["metadata"]["name"], {}).get(name, Decimal(0)), Decimal(0))
