"""What a cluster has to allow for runs, said once: for an administrator to grant, and for whoever asks whether it is.

Everything is in one namespace; no right over the whole cluster is needed. Where nodes may be listed, more is found
before it is too late (see ``preflight``), but nothing hangs on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...kernel.values import dataclass
from .api import Cluster
from .pod import COMPONENT, DRIVER, MANAGED_BY
from .target import Target

__all__ = ["RULES", "Answer", "Rule", "ask", "manifests", "missing"]

NAME = "flyte-build"
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Rule:
    """``verbs`` on ``resources`` of an API ``group`` (empty: the core), and what for."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    needed: bool = True


RULES = (
    Rule("batch", ("jobs",), ("create", "get", "list", "watch", "delete"), "attempts"),
    Rule("batch", ("jobs",), ("patch",), "that what is left of a run can be looked at for a day", needed=False),
    Rule("", ("pods",), ("get", "list", "watch"), "what becomes of them"),
    Rule("", ("pods/log",), ("get",), "what they print"),
    Rule("", ("events",), ("list", "watch"), "why they wait"),
    Rule("", ("secrets",), ("create", "get", "delete"), "the token of a run's actions service"),
    Rule("", ("services",), ("create", "get", "delete"), "the address of a run's driver"),
    Rule("networking.k8s.io", ("networkpolicies",), ("create",), "that only its pods call a run's driver"),
    Rule("apps", ("deployments",), ("create", "get", "delete"), "apps that tasks ask", needed=False),
    Rule("jobset.x-k8s.io", ("jobsets",), ("create", "get", "delete"), "clustered tasks", needed=False),
    Rule("", ("pods",), ("create",), "whether a pod would be admitted, before it is made", needed=False),
    Rule("", ("resourcequotas",), ("list",), "quotas that are too small for ever", needed=False),
    Rule("", ("podtemplates",), ("get",), "pod templates that tasks name", needed=False),
    Rule("kueue.x-k8s.io", ("localqueues",), ("get",), "whether a queue admits anything", needed=False),
    Rule("kueue.x-k8s.io", ("workloads",), ("list",), "why a queue keeps something waiting", needed=False),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the account may do this; ``why`` it is needed, or good to have."""

    verb: str
    resource: str
    allowed: bool
    needed: bool
    why: str


def ask(cluster: Cluster) -> list[Answer]:
    """Every single right, by SelfSubjectAccessReview. Raises :class:`ApiError` where the cluster cannot be asked."""
    found = []
    for rule in RULES:
        for resource in rule.resources:
            for verb in rule.verbs:
                name, _, sub = resource.partition("/")
                attributes = {"namespace": cluster.namespace, "verb": verb, "group": rule.group, "resource": name}
                if sub:
                    attributes["subresource"] = sub
                review = {
                    "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                    "spec": {"resourceAttributes": attributes},
                }  # fmt: skip
                told = cluster.request("POST", _REVIEWS, body=review)
                allowed = (told.get("status") or {}).get("allowed") is True
                found.append(Answer(verb, resource, allowed, rule.needed, rule.why))
    return found


def manifests(
    target: Target, *, users: Sequence[str] = (), groups: Sequence[str] = (), cluster_queue: str | None = None
) -> list[dict[str, Any]]:
    """The objects for an administrator to look at and apply: accounts, what drivers may, who may call their pods.

    ``users`` and ``groups`` may do what a driver may: people, who start runs. ``cluster_queue`` is Kueue's, for the
    target's queue. Nothing is of the whole cluster.
    """
    namespace, account = target.place.namespace, target.driver_account
    labels = {MANAGED_BY: NAME}

    def named(name: str) -> dict[str, Any]:
        return {"name": name, "namespace": namespace, "labels": labels}

    merged: dict[tuple[str, str], list[str]] = {}
    for rule in RULES:
        for resource in rule.resources:
            verbs = merged.setdefault((rule.group, resource), [])
            verbs += [v for v in rule.verbs if v not in verbs]
    rules = [{"apiGroups": [g], "resources": [r], "verbs": verbs} for (g, r), verbs in merged.items()]
    people = [("User", n) for n in users] + [("Group", n) for n in groups]
    subjects: list[dict[str, str]] = [
        {"kind": "ServiceAccount", "name": account, "namespace": namespace},
        *({"kind": k, "name": n, "apiGroup": "rbac.authorization.k8s.io"} for k, n in people),
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
    pods = {"matchLabels": labels}
    # That of tasks is bound to nothing: it is there for what the storage knows it by.
    accounts = dict.fromkeys(n for n in (account, target.place.service_account) if n and n != "default")
    objects: list[dict[str, Any]] = [
        *({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(name)} for name in accounts),
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": named(NAME), "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": named(NAME),
            "subjects": subjects, "roleRef": role,
        },
        {
            # The pods of runs take calls from each other only; all that they call is as the namespace has it. Drivers
            # make a policy of their own, for their run's pods alone: policies that select a pod add up.
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": named(NAME),
            "spec": {
                "podSelector": {
                    **pods, "matchExpressions": [{"key": COMPONENT, "operator": "NotIn", "values": [DRIVER]}],
                },
                "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": pods}]}],
            },
        },
    ]  # fmt: skip
    if cluster_queue is not None and target.place.queue:
        objects.append({
            "apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "LocalQueue", "metadata": named(target.place.queue),
            "spec": {"clusterQueue": cluster_queue},
        })  # fmt: skip
    return objects


def missing(cluster: Cluster) -> list[Answer]:
    """What is needed and not allowed. Raises :class:`ApiError`."""
    return [answer for answer in ask(cluster) if answer.needed and not answer.allowed]
