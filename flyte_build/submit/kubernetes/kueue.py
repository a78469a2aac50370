"""Kueue, where a cluster has it: whether a queue takes anything at all, and why a Job waits in it.

A Job only carries the queue's name; Kueue suspends and resumes it, and says why about a Workload that it makes of each
Job. It is never asked to hurry, and no object of its is changed. (kueue.sigs.k8s.io, API v1beta1.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .api import ApiError, Cluster

__all__ = ["LOCAL_QUEUES", "OF_SET", "installed_groups", "job_of", "queue_trouble", "why_queued", "why_waits"]

GROUP = "kueue.x-k8s.io"
LOCAL_QUEUES, WORKLOADS = f"{GROUP}/v1beta1/localqueues", f"{GROUP}/v1beta1/workloads"
_OF_JOB = f"{GROUP}/job-uid"
OF_SET = "-workers-0"
"""How the Job of a JobSet of ours is called, behind that one's name (see ``gangs``)."""
Object = Mapping[str, Any]


def installed_groups(cluster: Cluster) -> set[str]:
    """The API groups that the cluster has. Raises :class:`ApiError`."""
    told = cluster.request("GET", "/apis")
    return {str(group.get("name")) for group in told.get("groups") or ()}


def queue_trouble(cluster: Cluster, queue: str, groups: Iterable[str]) -> tuple[str, str] | None:
    """Why a Job in ``queue`` would never be admitted, and what to do; ``None``: nothing is known against it.

    Raises :class:`ApiError`: 403 where this account may not look at queues.
    """
    if GROUP not in groups:
        said = f"queue `{queue}` is set, and Kueue is not installed"
        return said, "install Kueue, or leave `queue` out: a Job would start without it"
    found = cluster.get(LOCAL_QUEUES, queue)
    if found is None:
        hint = f"`kubectl -n {cluster.namespace} get localqueues` shows those it has"
        return f"namespace {cluster.namespace} has no LocalQueue {queue}", hint
    if (found.get("spec") or {}).get("stopPolicy") in ("Hold", "HoldAndDrain"):
        return f"queue {queue} admits nothing: it is stopped", "ask whoever stopped it"
    active = _condition(found, "Active")
    if active.get("status") == "False":
        why = active.get("message") or active.get("reason")
        return f"queue {queue} admits nothing: {why}", "ask whoever looks after its ClusterQueue"
    return None


def job_of(workload: str) -> str:
    """The Job that a Workload of this name was made of: ``job-NAME-`` and five characters; of a JobSet's
    (``jobset-NAME-…``) the Job of its pods."""
    kind, _, rest = workload.partition("-")
    name = rest.rpartition("-")[0]
    return {"job": name, "jobset": f"{name}{OF_SET}" if name else ""}.get(kind, "")


def why_queued(cluster: Cluster, uid: str) -> str | None:
    """What Kueue says of the Job with this uid, where this account may look; ``None``: nothing."""
    try:
        pages = list(cluster.pages(WORKLOADS, {"labelSelector": f"{_OF_JOB}={uid}"}))
    except ApiError as e:
        if e.status not in (403, 404):
            raise
        return None
    for workload in (w for page in pages for w in page.get("items") or ()):
        for kind in ("QuotaReserved", "Admitted"):
            told = _condition(workload, kind)
            if told.get("status") == "False" and told.get("message"):
                return str(told["message"])
        evicted = _condition(workload, "Evicted")
        if evicted.get("status") == "True":
            return str(evicted.get("message") or evicted.get("reason"))
    return None


def _condition(value: Object, kind: str) -> Object:
    conditions = (value.get("status") or {}).get("conditions") or ()
    found: Object = next((c for c in conditions if c.get("type") == kind), {})
    return found


def why_waits(cluster: Cluster, held: Object | None, get: Callable[[], Object | None]) -> str:
    """What no event says of what is ``held`` in a queue, which ``get`` gives where it is not known: that its queue is
    gone, or stopped; empty where nobody says."""
    try:
        found = held if held is not None else get()
        return why_queued(cluster, str(found["metadata"].get("uid"))) or "" if found is not None else ""
    except ApiError:
        return ""
