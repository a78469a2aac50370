"""Kueue, where a cluster has it: whether a queue takes anything at all, and why a Job waits in it.

A Job only carries the queue's name; Kueue suspends and resumes it, and says why about a Workload that it makes of each
Job. It is never asked to hurry, and no object of its is changed. (kueue.sigs.k8s.io; the API's versions v1beta2, since
0.15, and v1beta1, which 0.17 is the last known to serve, say in the same words all that is asked here.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .api import ApiError, Cluster

__all__ = ["OF_SET", "installed_groups", "job_of", "local_queues", "queue_trouble", "why_queued", "why_waits"]

GROUP = "kueue.x-k8s.io"
_VERSIONS = ("v1beta2", "v1beta1")
_OF_JOB = f"{GROUP}/job-uid"
OF_SET = "-workers-0"
"""How the Job of a JobSet of ours is called, behind that one's name (see ``gangs``)."""
Object = Mapping[str, Any]


def installed_groups(cluster: Cluster) -> dict[str, tuple[str, ...]]:
    """The API groups that the cluster has, with the versions that each is served in. Raises :class:`ApiError`."""
    told = cluster.request("GET", "/apis")
    return {
        str(group.get("name")): tuple(str(v.get("version")) for v in group.get("versions") or ())
        for group in told.get("groups") or ()
    }


def local_queues(served: Sequence[str]) -> str:
    """The kind of queues in the newest version that is ``served`` and known here; in the cluster's own choice where
    none is."""
    known = [version for version in _VERSIONS if version in served]
    return f"{GROUP}/{(*known, *served, _VERSIONS[-1])[0]}/localqueues"


def queue_trouble(cluster: Cluster, queue: str, groups: Mapping[str, Sequence[str]]) -> tuple[str, str] | None:
    """Why a Job in ``queue`` would never be admitted, and what to do; ``None``: nothing is known against it. ``groups``
    as :func:`installed_groups` gives them.

    Raises :class:`ApiError`: 403 where this account may not look at queues.
    """
    if GROUP not in groups:
        said = f"queue `{queue}` is set, and Kueue is not installed"
        return said, "install Kueue, or leave `queue` out: a Job would start without it"
    found = cluster.get(local_queues(groups[GROUP]), queue)
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
    for workload in _workloads(cluster, uid):
        for kind in ("QuotaReserved", "Admitted"):
            told = _condition(workload, kind)
            if told.get("status") == "False" and told.get("message"):
                return str(told["message"])
        evicted = _condition(workload, "Evicted")
        if evicted.get("status") == "True":
            return str(evicted.get("message") or evicted.get("reason"))
    return None


def _workloads(cluster: Cluster, uid: str) -> list[Object]:
    """Those of the Job with this uid, in the newest version that is served (404: this one is not)."""
    for version in _VERSIONS:
        try:
            pages = list(cluster.pages(f"{GROUP}/{version}/workloads", {"labelSelector": f"{_OF_JOB}={uid}"}))
        except ApiError as e:
            if e.status == 404:
                continue
            if e.status != 403:
                raise
            return []
        return [workload for page in pages for workload in page.get("items") or ()]
    return []


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
