"""What would keep a Job's pod waiting for ever, found before it is made: so nothing that is hopeless holds a GPU.

Asked are the API server (it admits the very pod, without keeping it: names, accounts, security, ranges), the namespace
(Secrets and their keys, quotas that are too small for ever) and, where one may list them, the nodes. What this account
may not look at is passed over: it is found while one waits. Whether images are where nodes pull from is for whoever
pushed them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ...kernel.values import dataclass
from ..action import LaunchRequest
from ..template import quantity
from .api import ApiError, Cluster
from .container_task import Carrier
from .errors import Unplaceable
from .fit import misfit, shown
from .gangs import made_for, refuse_gang
from .kueue import installed_groups, queue_trouble
from .needs import NOTHING, Needs, unsuited
from .pod import QUEUE, Place, job
from .profiles import Profile
from .templates import named_template
from .vendors import PROFILES
from .watching import PODS

__all__ = ["QUOTAS", "SECRETS", "Problem", "hopeless", "nodes_of", "preflight"]

SECRETS, QUOTAS = "v1/secrets", "v1/resourcequotas"
_PAGE = 500
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the Job ``job`` would never run; ``hint`` is what to do."""

    job: str
    message: str
    hint: str | None = None


def hopeless(
    cluster: Cluster, requests: Sequence[LaunchRequest], place: Place, needs: Mapping[str, Needs] | None = None
) -> list[Problem]:
    """Why some of ``requests`` would never run: they can be no pod, or the cluster would never run that pod.

    Their ``image`` is the reference that nodes pull; ``needs`` is what images need of nodes, by digest. Of those
    whose pods are alike, the first is asked about. Raises :class:`ApiError` where the cluster cannot be asked.
    """
    found: list[Problem] = []
    jobs: dict[str, Object] = {}
    of: dict[str, Needs] = {}
    known: set[str] = set()
    pods: dict[str, int] = {}
    for request in requests:
        need = (needs or {}).get(request.image.rpartition("@")[2], NOTHING)
        try:
            template = named_template(cluster, request.task, request.task_spec)
            # Of a container task: whichever image it is that brings its inputs.
            carrier = Carrier(request.image)
            manifest = job(request, request.image, place, template=template, needs=need, carrier=carrier)
            refuse_gang(cluster, request)
        except Unplaceable as e:
            found.append(Problem(request.task, str(e), e.hint))
            continue
        if (shape := f"{made_for(request).gang} {_shape(manifest)}") not in known:
            known.add(shape)
            jobs[request.task], of[request.task] = manifest, need
            gang = made_for(request).gang
            pods[request.task] = gang.pods if gang is not None else 1
    return found + (preflight(cluster, jobs, of, place.profile, pods) if jobs else [])


def _shape(manifest: Object) -> str:
    """What a pod is asked about: all of it but what it is called, and what it runs."""
    metadata, spec = manifest["metadata"], manifest["spec"]["template"]["spec"]
    containers = [{k: v for k, v in c.items() if k not in ("args", "command")} for c in spec["containers"]]
    queue = (metadata.get("labels") or {}).get(QUEUE)
    return json.dumps([queue, {**spec, "containers": containers}], sort_keys=True)


def preflight(
    cluster: Cluster,
    jobs: Mapping[str, Object],
    needs: Mapping[str, Needs] | None = None,
    profile: Profile = PROFILES["eks"],
    pods: Mapping[str, int] | None = None,
) -> list[Problem]:
    """Look at Jobs by what they are for (a task's name), which is what ``needs`` of their images are by, too, and how
    many ``pods`` each is at once.

    Raises :class:`ApiError` where the cluster cannot be asked.
    """
    nodes = nodes_of(cluster) or []
    quotas = _allowed(lambda: [q for page in cluster.pages(QUOTAS, {}) for q in page.get("items") or ()]) or []
    found: list[Problem] = []
    for name, made in jobs.items():
        template = made["spec"]["template"]
        found += _admitted(cluster, name, made)
        found += _secrets(cluster, name, template["spec"])
        if (queue := (made["metadata"].get("labels") or {}).get(QUEUE)) is not None:
            found += _queue(cluster, name, queue)
        if (why := unsuited((needs or {}).get(name, NOTHING), template["spec"], nodes, profile)) is not None:
            found.append(Problem(name, *why))
        elif (reason := misfit(template["spec"], nodes)) is not None:
            hint = "ask for less, or for what there is: `kubectl get nodes --show-labels` shows it"
            found.append(Problem(name, reason, hint))
        found += (
            Problem(name, m, "ask for less, or have the quota raised")
            for m in _too_small(quotas, template["spec"], (pods or {}).get(name, 1))
        )
    return found


def _allowed(ask: Any) -> Any:
    """What ``ask`` gives; ``None`` where this account may not know."""
    try:
        return ask()
    except ApiError as e:
        if e.status not in (403, 404):
            raise
        return None


def nodes_of(cluster: Cluster) -> list[Object] | None:
    """Every node's labels, taints and what it can allot; ``None`` where this account may not list them."""

    def ask() -> list[Object]:
        nodes: list[Object] = []
        more = ""
        while True:
            query = {"limit": str(_PAGE), **({"continue": more} if more else {})}
            page = cluster.request("GET", "/api/v1/nodes", query)
            for node in page.get("items") or ():
                taints = (node.get("spec") or {}).get("taints") or []
                allocatable = (node.get("status") or {}).get("allocatable") or {}
                metadata = {"name": node["metadata"].get("name"), "labels": node["metadata"].get("labels") or {}}
                nodes.append({"metadata": metadata, "spec": {"taints": taints}, "status": {"allocatable": allocatable}})
            more = str((page.get("metadata") or {}).get("continue") or "")
            if not more:
                return nodes

    found: list[Object] | None = _allowed(ask)
    return found


def _queue(cluster: Cluster, name: str, queue: str) -> Iterator[Problem]:
    """A queue that never admits anything, and a label that nobody reads."""
    trouble = _allowed_or(None, lambda: queue_trouble(cluster, queue, installed_groups(cluster)))
    if trouble is not None:
        yield Problem(name, *trouble)


def _admitted(cluster: Cluster, name: str, job: Object) -> Iterator[Problem]:
    """What the API server says to the pod, without making it. A quota that is used up now is no problem for ever."""
    template = job["spec"]["template"]
    metadata = {**template["metadata"], "name": f"{job['metadata']['name']}-check", "namespace": cluster.namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    try:
        cluster.create(PODS, pod, dry_run=True)
    except ApiError as e:
        if e.status in (400, 403, 422) and "exceeded quota" not in e.message and not _forbidden_to_us(e):
            yield Problem(name, _words(e), e.hint if e.status != 403 else None)
        elif e.status not in (400, 403, 409, 422):
            raise


def _forbidden_to_us(e: ApiError) -> bool:
    """This account may make Jobs and no pods: nothing can be said."""
    return e.status == 403 and "cannot create resource" in e.message


def _words(e: ApiError) -> str:
    """Kubernetes' own, without the request."""
    return e.message.partition(f": {e.status} ")[2] or e.message


def _secrets(cluster: Cluster, name: str, pod: Object) -> Iterator[Problem]:
    """Secrets that are needed and not there, or without a key that is."""
    wanted: dict[str, dict[str, None]] = {}
    for secret, key in _references(pod):
        wanted.setdefault(secret, {}).update({key: None} if key else {})
    for secret, keys in wanted.items():
        unknown = object()
        found = _allowed_or(unknown, lambda secret=secret: cluster.get(SECRETS, secret))
        if found is unknown:
            continue
        where = f"namespace {cluster.namespace}"
        if found is None:
            made = f"create secret generic {secret} --from-literal={next(iter(keys), 'KEY')}=…"
            hint = f"kubectl -n {cluster.namespace} {made}"
            yield Problem(name, f"{where} has no Secret {secret}", hint)
            continue
        there = (found.get("data") or {}).keys()
        for key in (k for k in keys if k not in there):
            known = f"it has {', '.join(sorted(there))}" if there else "it is empty"
            yield Problem(name, f"the Secret {secret} of {where} has no key {key}; {known}")


def _allowed_or(otherwise: Any, ask: Any) -> Any:
    try:
        return ask()
    except ApiError as e:
        if e.status != 403:
            raise
        return otherwise


def _references(pod: Object) -> Iterator[tuple[str, str]]:
    """(Secret, key or nothing) of everything a pod cannot start without."""
    for one in pod.get("imagePullSecrets") or ():
        yield str(one["name"]), ""
    for container in (*(pod.get("initContainers") or ()), *pod["containers"]):
        for variable in container.get("env") or ():
            told = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if told and not told.get("optional"):
                yield str(told["name"]), str(told["key"])
        for whole in container.get("envFrom") or ():
            told = whole.get("secretRef")
            if told and not told.get("optional"):
                yield str(told["name"]), ""
    for volume in pod.get("volumes") or ():
        sources = [
            volume.get("secret"),
            *(s.get("secret") for s in (volume.get("projected") or {}).get("sources") or ()),
        ]
        for source in sources:
            if source and not source.get("optional"):
                secret = str(source.get("secretName") or source.get("name"))
                yield secret, ""
                for item in source.get("items") or ():
                    yield secret, str(item["key"])


def _too_small(quotas: list[Object], pod: Object, pods: int) -> Iterator[str]:
    """Quotas that would not hold so many of this pod were nothing else there."""
    asked = {"pods": Decimal(pods), "count/pods": Decimal(pods), "count/jobs.batch": Decimal(1)}
    for container in pod["containers"]:
        for kind in ("requests", "limits"):
            for name, value in ((container.get("resources") or {}).get(kind) or {}).items():
                for spelt in (f"{kind}.{name}", *((name,) if kind == "requests" else ())):
                    asked[spelt] = asked.get(spelt, Decimal(0)) + quantity(str(value)) * pods
    for quota in quotas:
        if (quota.get("spec") or {}).get("scopes") or (quota.get("spec") or {}).get("scopeSelector"):
            continue  # for some pods only
        for name, hard in ((quota.get("spec") or {}).get("hard") or {}).items():
            if name in asked and asked[name] > quantity(str(hard)):
                told = shown(name, asked[name])
                yield f"the quota {quota['metadata']['name']} allows {hard} of {name}, and it asks for {told}"
