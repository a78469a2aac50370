"""What a cluster says of an attempt, read: one line for people, and whether to wait, for how long, or how it ended.

A Job, its pods and their events are all there is, and much of what goes wrong never becomes a condition of any of them:
an image that cannot be pulled, a Secret that is missing, a node that never comes hold their GPU for ever. Each case
below is one that a real cluster was seen in. Pure: time is the reader's own, and how long something has been so is for
whoever looks again (see ``patience``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from ...kernel.values import dataclass, field
from ..action import Outcome
from .fit import asked_of_pod, shown
from .names import MAIN

__all__ = ["EVENTS", "PRIMARY", "QUEUED", "WAITING", "Sight", "Stage", "gave_up", "look", "queued"]

Object = Mapping[str, Any]
Stage = Literal["waiting", "queued", "starting", "running", "ended"]
Whose = Literal["user", "system"]


@dataclass(frozen=True, slots=True)
class Sight:
    """An attempt as it looks now.

    ``line`` is for people. ``key`` names what it waits for: as long as that stays the same, it is the same wait, and
    after ``patience`` seconds (``None``: for ever) the attempt is given up, as ``outcome`` then says. Where ``stage``
    is ``ended``, ``outcome`` is how, and the verdict is still storage's. ``unplaced`` is the ``spec`` of a pod that no
    node has room for, ``lacks`` the resources that nodes have too little of.
    """

    stage: Stage
    line: str
    key: str = ""
    patience: float | None = None
    outcome: Outcome | None = None
    unplaced: Object | None = field(default=None, repr=False, compare=False)
    lacks: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What a container waits for that may never come: how long that is borne (seconds), and what it is then."""

    patience: float
    code: str
    whose: Whose = "system"
    again: bool = False


# How long a kubelet may say it (seconds). What retrying cannot mend is given up at once.
_PULL, _THROTTLED = 15.0, 180.0
WAITING: Mapping[str, _Trouble] = {
    "ErrImagePull": _Trouble(_PULL, "ImagePullFailed", again=True),
    "ImagePullBackOff": _Trouble(_PULL, "ImagePullFailed", again=True),
    "ErrImageNeverPull": _Trouble(0.0, "ImagePullFailed"),
    "RegistryUnavailable": _Trouble(_THROTTLED, "ImagePullFailed", again=True),
    "InvalidImageName": _Trouble(0.0, "InvalidImageName"),
    "ImageInspectError": _Trouble(_PULL, "ImagePullFailed", again=True),
    "CreateContainerConfigError": _Trouble(0.0, "CreateContainerConfigError", "user"),
    "CreateContainerError": _Trouble(180.0, "CreateContainerError", again=True),
    "RunContainerError": _Trouble(180.0, "RunContainerError", again=True),
    "CrashLoopBackOff": _Trouble(0.0, "CrashLoopBackOff", "user"),
}
# Seen in events only: the container waits as ContainerCreating for as long as it lasts.
EVENTS: Mapping[str, _Trouble] = {
    "FailedMount": _Trouble(60.0, "FailedMount", "user"),
    "FailedAttachVolume": _Trouble(180.0, "FailedAttachVolume", again=True),
    "FailedCreatePodSandBox": _Trouble(60.0, "FailedCreatePodSandBox", again=True),
}
_CREATING = ("ContainerCreating", "PodInitializing")
# A pod's own end by the machine and not by its task (Flyte's backend retries the same as the system's).
_OF_THE_MACHINE = frozenset(
    {"Shutdown", "NodeShutdown", "Terminated", "NodeAffinity", "UnexpectedAdmissionError", "NodeLost", "Preempting"}
)
_FORBIDDEN = 20.0
# The scheduler's words (``framework/plugins/noderesources``).
_LACKING = re.compile(r"Insufficient ([\w./-]*\w)")
PRIMARY = "primary"
"""What a task's own container is called, where no template calls it otherwise."""
QUEUED = "queued"
"""The line of a Job that is suspended, and nobody said why."""

# What Kueue says of a Workload that waits, besides that it was evicted (``EvictedDueToPreempted``, …).
_QUEUED = ("Pending", "QuotaReserved", "Preempted", "Inadmissible")


def look(job: Object | None, pods: Iterable[Object], events: Sequence[Object] = (), *, unscheduled: float) -> Sight:
    """How an attempt looks. ``job`` is ``None`` once it is gone; ``events`` are about it and its pods, the latest last.

    ``unscheduled``: seconds that it may wait for a node or for quota.
    """
    alive = sorted(pods, key=lambda p: str(p["metadata"].get("creationTimestamp") or ""))
    if job is None and not alive:
        return _interrupted("its Job was deleted while it ran")
    conditions = {c["type"]: c for c in ((job or {}).get("status") or {}).get("conditions") or () if _true(c)}
    if job is not None and (job.get("spec") or {}).get("suspend"):
        # Not admitted yet, or not any more: the pods that it had are gone, and nobody's failure.
        return Sight("queued", queued(events), "suspended")
    last = alive[-1] if alive else None
    if last is not None:
        found = _pod(last, events, unscheduled)
        failing = {"FailureTarget", "Failed"} & conditions.keys()
        # A lost node never tells how its pod ended: the Job's word is all there will be.
        if found.stage != "ended" and failing:
            return _interrupted("its pod was deleted, or its node was lost")
        return found
    if "Complete" in conditions or "SuccessCriteriaMet" in conditions:
        return Sight("ended", "succeeded", outcome=Outcome(0))
    if failed := conditions.get("Failed") or conditions.get("FailureTarget"):
        return _interrupted(str(failed.get("message") or failed.get("reason") or "its pod is gone"))
    return _no_pod_yet(events, unscheduled)


def _true(condition: Object) -> bool:
    return condition.get("status") == "True"


def _ended(outcome: Outcome) -> Sight:
    """By what its task did: too long, too much, a failure."""
    return Sight("ended", outcome.message or f"exit code {outcome.exit_code}", outcome=outcome)


def _interrupted(why: str) -> Sight:
    """By no fault of its task's."""
    return Sight("ended", why, outcome=Outcome(137, "lost", why, "Interrupted"))


def queued(events: Sequence[Object]) -> str:
    """Kueue tells why in events about the Job's Workload: not admitted, or evicted from what it was admitted to."""
    told = [e for e in events if e.get("reason") in _QUEUED or str(e.get("reason")).startswith("EvictedDueTo")]
    if not told:
        return QUEUED
    taken = told[-1].get("reason") not in _QUEUED or told[-1].get("reason") == "Preempted"
    return f"queued{' again' if taken else ''}: {told[-1].get('message', '')}"


def _no_pod_yet(events: Sequence[Object], unscheduled: float) -> Sight:
    """The Job's controller cannot make a pod, and says so in events alone."""
    refused = [e for e in events if e.get("reason") == "FailedCreate"]
    if not refused:
        return Sight("waiting", "waits for its pod", "no pod", unscheduled, gave_up("no pod was made for its Job"))
    message = str(refused[-1].get("message") or "")
    if "exceeded quota" in message:
        why = message.partition("exceeded quota: ")[2] or message
        return Sight("queued", f"quota: {why}", "quota", unscheduled, gave_up(f"the quota left no room: {why}"))
    outcome = Outcome(1, "error", f"no pod can be made: {message}", "PodNotCreated")
    return Sight("waiting", f"no pod can be made: {message}", "forbidden", _FORBIDDEN, outcome)


def gave_up(why: str) -> Outcome:
    """It was waited for long enough."""
    return Outcome(1, "error", why, "Unschedulable")


def _pod(pod: Object, events: Sequence[Object], unscheduled: float) -> Sight:
    status = pod.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    disrupted = conditions.get("DisruptionTarget")
    if disrupted is not None and _true(disrupted):
        return _interrupted(f"interrupted: {disrupted.get('message') or disrupted.get('reason')}")
    phase, reason = status.get("phase"), str(status.get("reason") or "")
    containers = status.get("containerStatuses") or []
    if phase in ("Succeeded", "Failed"):
        deleted = bool(pod["metadata"].get("deletionTimestamp"))
        # What only ran beside the others was ended with them, and how is no failure.
        inits = (pod.get("spec") or {}).get("initContainers") or ()
        beside = {c["name"] for c in inits if c.get("restartPolicy") == "Always"}
        counted = [c for c in (*containers, *_inits(status)) if c.get("name") not in beside]
        return _ending(phase, reason, str(status.get("message") or ""), counted, deleted)
    if pod["metadata"].get("deletionTimestamp"):
        return Sight("starting", "is being deleted", "deleted")
    scheduled = conditions.get("PodScheduled")
    if scheduled is not None and scheduled.get("status") == "False":
        message = str(scheduled.get("message") or scheduled.get("reason") or "")
        lacks, asks = _asks(pod, message)
        why = f"{_first_sentence(message)}{asks}"
        unplaced = (pod.get("spec") or {}) if lacks else None
        gone = gave_up(f"no node took it: {why}")
        return Sight("queued", f"queued: {why}", "unschedulable", unscheduled, gone, unplaced, lacks)
    node = str((pod.get("spec") or {}).get("nodeName") or "")
    # A container task's own comes before what takes its outputs over (see ``container_task``).
    own = (pod["metadata"].get("annotations") or {}).get(MAIN, PRIMARY)
    if any(c.get("name") == own and "running" in (c.get("state") or {}) for c in _inits(status)):
        return Sight("running", f"running on {node}", "running")
    for container in (*_inits(status), *containers):
        found = _waiting(container, events, node)
        if found is not None:
            return found
    if any({"running", "terminated"} & (c.get("state") or {}).keys() for c in containers):
        return Sight("running", f"running on {node}", "running")
    if _inits(status):
        return Sight("starting", f"runs its init containers on {node}", "init")
    return Sight("waiting", "waits for a node", "unscheduled", unscheduled, gave_up("the scheduler said nothing of it"))


def _inits(status: Object) -> list[Object]:
    """Init containers that are not done: they are looked at first, as nothing else begins before."""
    return [
        c
        for c in status.get("initContainerStatuses") or ()
        if ((c.get("state") or {}).get("terminated") or {}).get("exitCode") != 0
    ]


def _first_sentence(message: str) -> str:
    """``0/3 nodes are available: 2 Insufficient nvidia.com/gpu. preemption: …`` without what is about preemption."""
    return message.partition(". preemption:")[0].partition(". no new claims")[0].rstrip(". ")


def _asks(pod: Object, message: str) -> tuple[tuple[str, ...], str]:
    """All that nodes have too little of, and what it asks for of that."""
    asked = asked_of_pod(pod.get("spec") or {})
    names = tuple(name for name in dict.fromkeys(_LACKING.findall(message)) if name in asked)
    return names, f"; it asks for {', '.join(f'{shown(n, asked[n])} of {n}' for n in names)}" if names else ""


def _waiting(container: Object, events: Sequence[Object], node: str) -> Sight | None:
    state = (container.get("state") or {}).get("waiting")
    if state is None:
        return None
    reason, message = str(state.get("reason") or ""), str(state.get("message") or "")
    if reason in _CREATING:
        told = [e for e in events if e.get("reason") in EVENTS]
        if not told:
            pulling = any(e.get("reason") == "Pulling" for e in events[-3:])
            return Sight("starting", f"{'pulls its image' if pulling else 'starts'} on {node}", "starting")
        reason, message = str(told[-1]["reason"]), str(told[-1].get("message") or "")
    trouble = WAITING.get(reason) or EVENTS.get(reason)
    if trouble is None:
        return Sight("starting", f"{reason or 'starts'} on {node}", f"waiting {reason}")
    if trouble.code == "ImagePullFailed":
        return _pull(trouble, container, message, events)
    line = f"{reason}: {message}" if message else reason
    outcome = Outcome(1, "error", line, trouble.code, trouble.whose, trouble.again)
    return Sight("starting", line, trouble.code, trouble.patience, outcome)


def _pull(trouble: _Trouble, container: Object, message: str, events: Sequence[Object]) -> Sight:
    """The kubelet's two words for it take turns, and only one of them says why; events keep it."""
    told = [str(e.get("message") or "") for e in events if e.get("reason") == "Failed"]
    why = next((m for m in (message, *reversed(told)) if "rpc error" in m or "failed to" in m.lower()), message)
    throttled = re.search(r"\b429\b|[Tt]oo [Mm]any [Rr]equests|toomanyrequests", why) is not None
    why = re.sub(r"^.*?desc = ", "", why)
    line = f"its image {container.get('image', '')} cannot be pulled: {why}"
    outcome = Outcome(1, "error", line, trouble.code, trouble.whose, trouble.again)
    return Sight("starting", line, "pull", _THROTTLED if throttled else trouble.patience, outcome)


def _ending(phase: str, reason: str, message: str, containers: Sequence[Object], deleted: bool) -> Sight:
    ends = [s for c in containers if (s := (c.get("state") or {}).get("terminated")) is not None]
    if reason == "DeadlineExceeded":
        return _ended(Outcome(137, "timeout", message))
    if reason == "Evicted":
        disk = "ephemeral" in message or "EmptyDir" in message
        if disk:
            return _ended(Outcome(137, "disk", message))
        return _interrupted(f"evicted: {message}")
    # Success, too, may be the end of a process whose child was killed for memory.
    if any(e.get("reason") == "OOMKilled" for e in ends):
        return _ended(Outcome(137, "oom", "killed for memory: more than its limit"))
    if phase == "Succeeded":
        return Sight("ended", "succeeded", outcome=Outcome(0))
    if deleted:
        # It was told to end, and its exit code is how it took that.
        return _interrupted("its pod was deleted")
    if reason in _OF_THE_MACHINE:
        return _interrupted(f"{reason}: {message}" if message else reason)
    if not ends:
        return _interrupted(message or reason or "its pod failed and says no more")
    worst = max(ends, key=lambda e: int(e.get("exitCode") or 0))
    code = int(worst.get("exitCode") or 1)
    if worst.get("reason") in ("StartError", "ContainerCannotRun"):
        return _ended(Outcome(code, "error", f"cannot be started: {worst.get('message', '')}", "StartError", "user"))
    return _ended(Outcome(code, message=str(worst.get("message") or "")))
