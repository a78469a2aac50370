"""Whether any node could ever hold a pod, were it empty: before a Job is made that would wait for one for ever.

Only what stays is looked at: what a node can allot in all, its labels, its taints. What others use now is the
scheduler's business, and what it says of that is told while one waits. Pure: nodes come as the API lists them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ..template import quantity

__all__ = ["asked_of_pod", "lacks_room", "misfit", "misfit_of", "shown"]

Object = Mapping[str, Any]
_HARD = ("NoSchedule", "NoExecute")
# Taints that say how a node is just now; they come and go.
_PASSING = "node.kubernetes.io/"


def misfit(pod: Object, nodes: Iterable[Object]) -> str | None:
    """Why no node could ever hold ``pod`` (a pod's ``spec``), with how many for which reason; ``None``: one could.

    Of no nodes at all nothing is said: a cluster that grows on demand may have none.
    """
    there = list(nodes)
    reasons: Counter[str] = Counter()
    for node in there:
        reason = misfit_of(pod, node)
        if reason is None:
            return None
        reasons[reason] += 1
    if not there:
        return None
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return f"none of {len(there)} nodes could ever hold it: {told}"


def misfit_of(pod: Object, node: Object) -> str | None:
    """Why ``node`` could never hold ``pod``, the first reason that holds; ``None``: it could, were it empty."""
    labels: Mapping[str, str] = node["metadata"].get("labels") or {}
    for key, value in (pod.get("nodeSelector") or {}).items():
        if labels.get(key) != value:
            return _unlike(key, (value,), labels)
    terms = _terms(pod)
    if terms and all(_unmatched(term, labels) is not None for term in terms):
        return _unmatched(terms[0], labels)
    for taint in (node.get("spec") or {}).get("taints") or ():
        passing = str(taint["key"]).startswith(_PASSING)
        if taint["effect"] in _HARD and not passing and not _tolerated(taint, pod.get("tolerations") or ()):
            value = f"={taint['value']}" if taint.get("value") else ""
            return f"tainted {taint['key']}{value}:{taint['effect']}"
    have = (node.get("status") or {}).get("allocatable") or {}
    for name, asked in sorted(asked_of_pod(pod).items()):
        there = quantity(str(have[name])) if name in have else Decimal(0)
        if asked > there:
            return f"without {name}" if not there else f"with at most {shown(name, there)} of {name}"
    return None


def lacks_room(pod: Object, node: Object) -> bool:
    """Whether ``node`` takes pods like this one now, and only has no room for it: it could hold it, were it empty, and
    no taint that it has just now keeps it away."""
    taints = (node.get("spec") or {}).get("taints") or ()
    closed = any(t["effect"] in _HARD and not _tolerated(t, pod.get("tolerations") or ()) for t in taints)
    return not closed and misfit_of(pod, node) is None


def _terms(pod: Object) -> Sequence[Object]:
    """What the required node affinity says, any of which will do."""
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms: Sequence[Object] = required.get("nodeSelectorTerms") or ()
    return terms


def _unmatched(term: Object, labels: Mapping[str, str]) -> str | None:
    """The first expression that a node with ``labels`` does not meet; fields of a node are not looked at."""
    for expression in term.get("matchExpressions") or ():
        key, operator = expression["key"], expression["operator"]
        values = tuple(expression.get("values") or ())
        have = labels.get(key)
        good = {
            "In": have in values,
            "NotIn": have not in values,
            "Exists": have is not None,
            "DoesNotExist": have is None,
            "Gt": _beyond(have, values, 1),
            "Lt": _beyond(have, values, -1),
        }.get(operator, True)
        if not good:
            return _unlike(key, values, labels)
    return None


def _beyond(have: str | None, values: Sequence[str], sign: int) -> bool:
    try:
        return have is not None and (int(have) - int(values[0])) * sign > 0
    except (ValueError, IndexError):
        return False


def _unlike(key: str, values: Sequence[str], labels: Mapping[str, str]) -> str:
    wanted = f" (asked for: {', '.join(values)})" if values else ""
    return f"labelled {key}={labels[key]}{wanted}" if key in labels else f"without the label {key}{wanted}"


def _tolerated(taint: Object, tolerations: Iterable[Object]) -> bool:
    """As the scheduler has it (``ToleratesTaint`` of k8s.io/component-helpers)."""
    for one in tolerations:
        if one.get("effect") and one["effect"] != taint["effect"]:
            continue
        if one.get("key") and one["key"] != taint["key"]:
            continue
        exists = one.get("operator") == "Exists"
        if exists or (one.get("key") and (one.get("value") or "") == (taint.get("value") or "")):
            return True
    return False


def asked_of_pod(pod: Object) -> dict[str, Decimal]:
    """What a pod's containers ask for together; init containers run alone, before, unless they stay. What its runtime
    takes besides (``overhead``) is its, too."""
    together: dict[str, Decimal] = {}
    alone: dict[str, Decimal] = {}
    for container in pod.get("initContainers") or ():
        for name, value in _requests(container).items():
            if container.get("restartPolicy") == "Always":
                together[name] = together.get(name, Decimal(0)) + value
            else:
                alone[name] = max(alone.get(name, Decimal(0)), value)
    for container in pod.get("containers") or ():
        for name, value in _requests(container).items():
            together[name] = together.get(name, Decimal(0)) + value
    found = {n: max(together.get(n, Decimal(0)), alone.get(n, Decimal(0))) for n in {*together, *alone}}
    for name, value in (pod.get("overhead") or {}).items():
        found[name] = found.get(name, Decimal(0)) + quantity(str(value))
    return found


def _requests(container: Object) -> dict[str, Decimal]:
    given = container.get("resources") or {}
    return {n: quantity(str(v)) for n, v in {**(given.get("limits") or {}), **(given.get("requests") or {})}.items()}


def shown(name: str, value: Decimal) -> str:
    """A count or cores as they are; bytes in Gi."""
    if name.endswith(("memory", "storage")):
        return f"{value / 2**30:.1f}Gi"
    return f"{value.normalize():f}"
