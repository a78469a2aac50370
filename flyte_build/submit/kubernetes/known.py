"""What is known of the objects of one attempt, and how it is held: of thousands that wait, as text.

Read, an object takes ten times what it takes as text, and it is looked at a few times in its life.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from .names import MAIN

__all__ = ["Attempt", "Held", "slim", "trimmed"]

Object = Mapping[str, Any]

_MOST_EVENTS = 20
_PLACING = ("nodeSelector", "affinity", "tolerations", "overhead")
_TOLD_ELSEWHERE = ("podIPs", "hostIPs", "hostIP", "uncountedTerminatedPods")
# As Go writes it: what has no list within is the last of an object's metadata, which its specification follows.
_WHO_SET_WHAT, _ITS_END, _THEN = b'"managedFields":[{', b"}]", b'}]},"spec":{'


def slim(line: bytes) -> bytes:
    """A Job or a pod as an API server writes it, without who set which field: half of it, which nobody asks after.

    A string's quotes are escaped, so no such mark is in one; where they are not in this order, it is as it was.
    """
    at = line.find(_WHO_SET_WHAT)
    end = line.find(_ITS_END, at) if at >= 0 else -1
    if end < 0 or not line.startswith(_THEN, end):
        return line
    return line[: at + len(_WHO_SET_WHAT) - 1] + line[end + 1 :]


@dataclass(slots=True)
class Attempt:
    """What is known of one Job: itself (``None`` before it was seen, and once it is gone), its pods, their events.

    ``past`` are pods from before the Job was last suspended: Kueue took their places, and others come.
    """

    job: Object | None = None
    seen: bool = False
    pods: dict[str, Object] = field(default_factory=dict)
    events: list[Object] = field(default_factory=list)
    past: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Held:
    """The same, as it is kept: objects are text. ``calm``: the Job goes its way, and most of what is told of it says
    nothing new. ``leaving`` are pods that are on their way out."""

    job: str | None = None
    seen: bool = False
    calm: bool = False
    suspended: bool = False
    pods: dict[str, str] = field(default_factory=dict)
    leaving: Set[str] = frozenset()
    events: tuple[Object, ...] = ()
    past: Set[str] = frozenset()

    def known(self) -> Attempt:
        """What is known now, each time anew."""
        job = json.loads(self.job) if self.job is not None else None
        pods = {name: json.loads(pod) for name, pod in self.pods.items() if name not in self.past}
        return Attempt(job, self.seen, pods, list(self.events), set(self.past))

    def take_job(self, value: Object | None) -> None:
        """The Job is now ``value``, or gone."""
        self.job, self.seen = None, True
        self.calm = self.suspended = False
        if value is not None:
            kept = trimmed(value)
            self.job = _text(kept)
            self.suspended = bool(kept["spec"].get("suspend"))
            self.calm = not self.suspended and not kept["status"].get("conditions")
        self._part()

    def take_pod(self, name: str, value: Object, *, deleted: bool) -> None:
        """Also of one that was deleted: its last word may be all that tells how the attempt ended."""
        self.pods[name] = _text(trimmed(value))
        if value["metadata"].get("deletionTimestamp"):
            self.leaving |= {name}
        elif name in self.leaving:
            self.leaving -= {name}
        self._part({name} if deleted else frozenset())

    def take_event(self, value: Object) -> None:
        told = {"reason": value.get("reason"), "message": value.get("message")}
        if told not in self.events[-3:]:
            self.events = (*self.events, told)[-_MOST_EVENTS:]

    def _part(self, deleted: Set[str] = frozenset()) -> None:
        """While the Job is suspended, pods that are on their way out, or ``deleted``, are of the past.

        Only those: of Jobs and of pods one is told by ways of their own, and a pod that came after the Job went on may
        be heard of first.
        """
        if self.suspended and (gone := self.leaving | deleted):
            self.past |= gone


def _text(value: Object) -> str:
    return json.dumps(value, separators=(",", ":"))


def trimmed(value: Object) -> dict[str, Any]:
    """What is needed of an object to see how its attempt goes."""
    metadata = value.get("metadata") or {}
    kept = {
        k: metadata[k] for k in ("name", "uid", "creationTimestamp", "deletionTimestamp", "labels") if k in metadata
    }
    if MAIN in (told := metadata.get("annotations") or {}):
        kept["annotations"] = {MAIN: told[MAIN]}
    spec = value.get("spec") or {}
    status = value.get("status") or {}
    if "containers" in spec and "nodeName" not in spec:
        # What nodes have too little of is told with what it asks for, and with what those have that could hold it.
        placing = {k: spec[k] for k in _PLACING if k in spec}
        placing |= {k: [_small(c) for c in spec[k]] for k in ("initContainers", "containers") if k in spec}
    else:
        beside = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
        placing = {"initContainers": [_small(c, ()) for c in beside]} if beside else {}
    return {
        "metadata": kept,
        "spec": {**{k: spec[k] for k in ("nodeName", "suspend") if k in spec}, **placing},
        "status": {k: v for k, v in status.items() if k not in _TOLD_ELSEWHERE},
    }


def _small(container: Object, more: Sequence[str] = ("resources",)) -> dict[str, Any]:
    return {k: container[k] for k in ("name", "restartPolicy", *more) if k in container}
