"""What a cluster has to allow for runs, said once: for an administrator to grant, and for whoever asks whether it is.

Everything is in one namespace; no right over the whole cluster is needed. Where nodes may be listed, more is found
before it is too late (see ``preflight``), but nothing hangs on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .api import Cluster
from .pod import MANAGED_BY
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
    Rule("", ("pods",), ("get", "list", "watch"), "what becomes of them"),
    Rule("", ("pods/log",), ("get",), "what they print"),
    Rule("", ("events",), ("list", "watch"), "why they wait"),
    Rule("", ("secrets",), ("create", "get", "delete"), "the token of a run's actions service"),
    Rule("", ("services",), ("create", "get", "delete"), "the address of a run's driver"),
    Rule("networking.k8s.io", ("networkpolicies",), ("create",), "who may call a run's driver", needed=False),
    Rule("", ("pods",), ("create",), "whether a pod would be admitted, before it is made", needed=False),
    Rule("", ("resourcequotas",), ("list",), "quotas that are too small for ever", needed=False),
    Rule("", ("podtemplates",), ("get",), "pod templates that tasks name", needed=False),
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


def manifests(target: Target) -> list[dict[str, Any]]:
    """The objects for an administrator to look at and apply: an account, what it may, who may call its pods."""
    namespace, account = target.place.namespace, target.place.service_account or NAME
    labels = {MANAGED_BY: NAME}

    def named(name: str) -> dict[str, Any]:
        return {"name": name, "namespace": namespace, "labels": labels}

    merged: dict[tuple[str, str], list[str]] = {}
    for rule in RULES:
        for resource in rule.resources:
            verbs = merged.setdefault((rule.group, resource), [])
            verbs += [v for v in rule.verbs if v not in verbs]
    rules = [{"apiGroups": [g], "resources": [r], "verbs": verbs} for (g, r), verbs in merged.items()]
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
    pods = {"matchLabels": labels}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(account)},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": named(NAME), "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": named(NAME),
            "subjects": [subject], "roleRef": role,
        },
        {
            # The pods of runs take calls from each other only; all that they call is as the namespace has it.
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": named(NAME),
            "spec": {"podSelector": pods, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": pods}]}]},
        },
    ]  # fmt: skip


def missing(cluster: Cluster) -> list[Answer]:
    """What is needed and not allowed. Raises :class:`ApiError`."""
    return [answer for answer in ask(cluster) if answer.needed and not answer.allowed]
