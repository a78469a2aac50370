"""The driver of a run as a Job of its own: what is made of it in the cluster, and by whom.

Whoever submits makes the Job and nothing else, so there is no moment at which half of a run is there. The driver makes
the rest when it begins, all of it the Job's own: a Service, because its pod's address changes when the pod does; the
Secret with the run's token; and a NetworkPolicy that lets in the run's own pods alone. Deleting the Job deletes it all.

A driver that ends for good before its run has leaves attempts and apps that nobody looks at any more. So its Job goes
soon after its end, by Kubernetes' own clock, and only a driver that has ended the run says that it shall stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .api import ApiError, Cluster
from .errors import FINAL
from .names import label_value, run_object
from .needs import NOTHING, Needs
from .own_pods import own_pod
from .pod import COMPONENT, DRIVER, MANAGED_BY
from .target import Target
from .watching import JOBS

__all__ = [
    "ENVIRONMENT", "POLICIES", "PORT", "SERVICES", "driver_job", "keep_job", "policy_of", "service_of",
]  # fmt: skip

ENVIRONMENT = "DRIVER_REQUEST"
SERVICES, POLICIES = "v1/services", "networking.k8s.io/v1/networkpolicies"
PORT = 8080
_BACKOFF = 20
# Seconds after which all that was made for a run is gone whose driver ended for good, and not the run.
LOST_SECONDS = 600


def _labels(run: str) -> dict[str, str]:
    return {"run": label_value(run), MANAGED_BY: "flyte-build", COMPONENT: DRIVER}


def driver_job(run: str, image: str, target: Target, needs: Needs = NOTHING) -> dict[str, Any]:
    """The Job that drives ``run``, on ``image`` (a reference by digest), which ``needs`` that of a node."""
    place = target.place
    labels = {**place.labels, **_labels(run)}
    told = {"run": run, "storage": target.storage, "options": dict(target.options)}
    container = {
        "name": DRIVER,
        "image": image,
        "ports": [{"containerPort": PORT}],
        "resources": {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "1Gi"}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    pod = {
        **own_pod(container, "driver", (ENVIRONMENT, told), target, needs),
        "restartPolicy": "Never",
        "serviceAccountName": target.driver_account,
        "automountServiceAccountToken": True,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": run_object(run), "namespace": place.namespace, "labels": labels},
        "spec": {
            "backoffLimit": _BACKOFF,
            # Two at once would both make the same Jobs, and neither is made twice; but one is enough.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [FINAL]}},
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "ttlSecondsAfterFinished": min(LOST_SECONDS, place.keep_seconds),
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def keep_job(cluster: Cluster, run: str, seconds: int) -> None:
    """The run has ended: its Job, with what it owns, stays for ``seconds`` after the driver's end.

    Where the account may not say so (a target of before), it goes sooner.
    """
    try:
        cluster.patch(JOBS, run_object(run), {"spec": {"ttlSecondsAfterFinished": seconds}})
    except ApiError as e:
        if e.status not in (403, 404):
            raise


def service_of(cluster: Cluster, run: str, owner: Mapping[str, Any]) -> str:
    """The address that the run's pods call, made, or as an earlier driver made it. Raises :class:`ApiError`."""
    name = run_object(run)
    value = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": _labels(run), "ownerReferences": [dict(owner)]},
        "spec": {"selector": _labels(run), "ports": [{"port": PORT, "targetPort": PORT}]},
    }
    try:
        made = cluster.create(SERVICES, value)
    except ApiError as e:
        there = cluster.get(SERVICES, name) if e.status == 409 else None
        if there is None:
            raise
        made = there
    return str(made["spec"]["clusterIP"])


def policy_of(cluster: Cluster, run: str, owner: Mapping[str, Any]) -> None:
    """Let only the run's own pods call its driver. Raises :class:`ApiError`."""
    value = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": run_object(run), "labels": _labels(run), "ownerReferences": [dict(owner)]},
        "spec": {
            "podSelector": {"matchLabels": _labels(run)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{"podSelector": {"matchLabels": {"run": label_value(run), MANAGED_BY: "flyte-build"}}}],
                    "ports": [{"port": PORT}],
                }
            ],
        },
    }
    try:
        cluster.create(POLICIES, value)
    except ApiError as e:
        if e.status != 409:
            raise
