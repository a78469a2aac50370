"""Clustered tasks: an attempt is several pods at once, which find each other by name, as a JobSet.

The SDK's `clustered` launcher in each pod makes of a few variables where the first pod is and who the others are. They
and the names are a contract with it (``flyte._bin.clustered``): pods of the JobSet ``X`` are ``X-workers-0-N`` below
the service ``X``. JobSet (jobset.sigs.k8s.io, API v1alpha2) makes that service and one indexed Job of all pods, and
makes them anew, all together, as often as the task's failure policy says. Nothing here makes anything.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flyteidl2.core import tasks_pb2
from google.protobuf.json_format import MessageToDict, ParseDict

from ...kernel.values import dataclass
from ..action import LaunchRequest, Outcome
from ..specs import parsed
from ..template import CLUSTERED
from .api import Cluster
from .errors import Unplaceable
from .kueue import OF_SET, installed_groups
from .names import job_name
from .pod import QUEUE
from .sight import Sight, gave_up, look, queued
from .watching import JOBS

__all__ = ["GROUP", "JOBSETS", "Gang", "Made", "gang_of", "jobset", "look_gang", "made_for", "refuse_gang"]

GROUP = "jobset.x-k8s.io"
JOBSETS = f"{GROUP}/v1alpha2/jobsets"
_WORKERS = "workers"
_PORT = "29500"
_RESTART = "jobset.sigs.k8s.io/restart-attempt"
# A pod is called as its JobSet, `-workers-0-`, its number and five characters, in at most 63.
_MOST_NAME = 40
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Gang:
    """``pods`` of ``processes`` each, whose launcher meets by ``backend``. All are made anew at most ``restarts``
    times, and besides, where ``free``, whenever a node takes one away."""

    pods: int
    processes: int = 1
    backend: str = "static"
    restarts: int = 0
    free: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """What is made for an attempt: an object ``name`` of ``kind``, of which the Job ``watched`` is told."""

    kind: str
    name: str
    watched: str
    gang: Gang | None = None


def gang_of(task: tasks_pb2.TaskTemplate) -> Gang | None:
    """The pods of a clustered task; ``None`` for any other. Raises ``ValueError`` for what describes none."""
    if task.type != "clustered-task":
        return None
    from flyteidl2.plugins import clustered_pb2  # which older SDKs have not, and no such tasks

    spec = ParseDict(MessageToDict(task.custom), clustered_pb2.ClusteredTaskSpec(), ignore_unknown_fields=True)
    backend = clustered_pb2.RdzvBackend.Name(spec.runtime.torchrun.rdzv_backend).lower()
    policy = spec.failure_policy
    if spec.replicas < 1:
        raise ValueError(f"expected at least one replica, found {spec.replicas}")
    return Gang(
        spec.replicas, max(spec.nproc_per_node, 1), backend, policy.max_restarts, policy.restart_on_host_maintenance
    )


def made_for(request: LaunchRequest) -> Made:
    """What is made for the attempt that is asked for."""
    gang = gang_of(parsed(request.task_spec).task_template)
    name = job_name(request.run, request.action, request.attempt, **({"most": _MOST_NAME} if gang else {}))
    return Made(JOBS, name, name) if gang is None else Made(JOBSETS, name, f"{name}{OF_SET}", gang)


def refuse_gang(cluster: Cluster, request: LaunchRequest) -> None:
    """Raises :class:`Unplaceable` for a clustered task where the cluster has no JobSet, and :class:`ApiError`."""
    if made_for(request).gang is not None and GROUP not in installed_groups(cluster):
        raise Unplaceable(
            f"{request.task} is a clustered task, and JobSet is not installed in the cluster",
            hint="ask for it (https://jobset.sigs.k8s.io), or `flyte run` submits it to a Flyte backend",
        )


def jobset(job: Object, made: Made) -> dict[str, Any]:
    """The JobSet of an attempt whose pod ``job`` (see ``pod.job``) has, of ``made.gang``."""
    gang = made.gang
    assert gang is not None
    template = copy.deepcopy(dict(job["spec"]["template"]))
    spec = template["spec"]
    main = next(c for c in spec["containers"] if (c.get("args") or [""])[0] == CLUSTERED)
    told = {
        "JOBSET_NAME": made.name, "NNODES": str(gang.pods), "NPROC_PER_NODE": str(gang.processes),
        "MASTER_PORT": _PORT, "RDZV_BACKEND": gang.backend,
    }  # fmt: skip
    read = {"POD_NAMESPACE": "metadata.namespace", "JOBSET_RESTART_ATTEMPT": f"metadata.labels['{_RESTART}']"}
    main["env"] = [
        *(v for v in main.get("env") or () if v.get("name") not in (*told, *read)),
        *({"name": name, "value": value} for name, value in told.items()),
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in read.items()),
    ]
    workers: dict[str, Any] = {
        "completionMode": "Indexed", "parallelism": gang.pods, "completions": gang.pods, "backoffLimit": 0,
        "template": template,
    }  # fmt: skip
    policy: dict[str, Any] = {"maxRestarts": gang.restarts}
    if gang.free:
        # A pod that its node took away fails the Job by this rule alone, and JobSet counts that for nothing.
        disrupted = {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        workers["podFailurePolicy"] = {"rules": [{"action": "FailJob", **disrupted}]}
        rule = {"action": "RestartJobSetAndIgnoreMaxRestarts", "onJobFailureReasons": ["PodFailurePolicy"]}
        policy["rules"] = [{"name": "maintenance", **rule}]
    labels = {k: v for k, v in job["metadata"]["labels"].items() if k != QUEUE}
    replicated = {
        "name": _WORKERS, "replicas": 1, "template": {"metadata": {"labels": labels}, "spec": workers}
    }  # fmt: skip
    return {
        "apiVersion": f"{GROUP}/v1alpha2",
        "kind": "JobSet",
        "metadata": {**job["metadata"], "name": made.name},
        "spec": {
            "network": {"enableDNSHostnames": True, "subdomain": made.name},
            "failurePolicy": policy,
            "ttlSecondsAfterFinished": job["spec"]["ttlSecondsAfterFinished"],
            "replicatedJobs": [replicated],
        },
    }


def look_gang(
    gang: Gang, found: Object | None, job: Object | None, pods: Iterable[Object], events: Sequence[Object], *,
    unscheduled: float,
) -> Sight:  # fmt: skip
    """How an attempt of several pods looks. ``found`` is its JobSet, ``None`` once that is gone; the rest is as in
    :func:`~.sight.look`, of the Job of its pods, and ``None`` also between two of them."""
    status: Object = (found or {}).get("status") or {}
    ended = status.get("terminalState")
    alive = [p for p in pods if not p["metadata"].get("deletionTimestamp")]
    latest = max((_attempt(p) for p in alive), default=0)
    sights = [look(job or {}, [p], events, unscheduled=unscheduled) for p in alive if _attempt(p) == latest]
    complete = {c["type"] for c in ((job or {}).get("status") or {}).get("conditions") or () if c["status"] == "True"}
    if ended == "Completed" or "Complete" in complete:
        return Sight("ended", "succeeded", outcome=Outcome(0))
    if ended or found is None:
        failed = [s for s in sights if s.stage == "ended" and s.outcome is not None and not _fine(s.outcome)]
        if failed:
            # Those that were ended because of another say nothing of why.
            return min(failed, key=lambda s: s.outcome is not None and s.outcome.reason == "lost")
        why = _message(status) or "its JobSet was deleted while it ran"
        return Sight("ended", why, outcome=Outcome(137, "lost", why, "Interrupted"))
    if found.get("spec", {}).get("suspend"):
        return Sight("queued", queued(events), "suspended")
    hopeless = [s for s in sights if s.patience is not None and s.stage != "ended"]
    if hopeless:
        return min(hopeless, key=lambda s: s.patience or 0.0)
    if len(sights) < gang.pods:
        alone = look(job, (), events, unscheduled=unscheduled) if job is not None and not alive else None
        # That the Job has failed is for JobSet to judge, which may be about to begin all anew.
        if alone is not None and alone.stage != "ended":
            return alone
        line = f"waits for its pods: {len(sights)} of {gang.pods}"
        return Sight("waiting", line, f"pods {latest}", unscheduled, gave_up("its pods were not all made"))
    again = f", begun anew {latest} times" if latest else ""
    running = sum(s.stage in ("running", "ended") for s in sights)
    return Sight("running" if running == gang.pods else "starting", f"{running} of {gang.pods} pods run{again}", "gang")


def _attempt(pod: Object) -> int:
    told = str((pod["metadata"].get("labels") or {}).get(_RESTART) or "0")
    return int(told) if told.isdigit() else 0


def _fine(outcome: Outcome) -> bool:
    return outcome.exit_code == 0 and not outcome.reason


def _message(status: Object) -> str:
    told = [c for c in status.get("conditions") or () if c.get("type") == "Failed" and c.get("status") == "True"]
    return str(told[-1].get("message") or told[-1].get("reason") or "") if told else ""
