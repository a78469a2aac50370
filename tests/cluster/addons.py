"""JobSet and Kueue in the cluster as their own projects have them: definitions, controllers and admission, of the
versions in their ``go.mod``.

Not part of ``up``: whoever wants one adds it.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from yaml import CSafeLoader, load_all  # type: ignore[import-untyped]

from . import configs
from .api import Api, condition
from .build import build
from .certificates import folder
from .cluster import Cluster

__all__ = ["add_jobset", "add_kueue", "remove_kueue"]

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PLACES = {
    "CustomResourceDefinition": _DEFINITIONS,
    "MutatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
}
_JOBSETS = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/default/jobsets"
_FLAVORS = "/apis/kueue.x-k8s.io/v1beta1/resourceflavors"
# Of the admission that Kueue's project has for everybody's jobs, that of what its program here is for.
_QUEUED = ("job", "jobset", "clusterqueue", "cohort", "resourceflavor", "workload")


@dataclass(frozen=True)
class _AddOn:
    """The ``process`` that runs it, the ``files`` with what is made in the API, where its admission listens, and
    whether the API server has heard of that."""

    process: str
    files: str
    address: str
    admits: Callable[[Api], bool]


def _jobset(cluster: Cluster) -> _AddOn:
    return _AddOn("jobsets", "jobset", cluster.site.jobset, _admits_jobsets)


def _kueue(cluster: Cluster) -> _AddOn:
    return _AddOn("queues", "kueue", cluster.site.kueue, _admits_flavors)


def add_jobset(cluster: Cluster, api: Api) -> None:
    """Returns once a JobSet that is made is admitted by its own admission; nothing if it is there.

    :raises ClusterError: it does not come to that
    """
    _add(cluster, api, _jobset(cluster))


def add_kueue(cluster: Cluster, api: Api) -> None:
    """Returns once a flavor that is made is admitted by its own admission; nothing if it is there.

    From then on it is asked about every Job and JobSet: without it none can be made.

    :raises ClusterError: it does not come to that
    """
    _add(cluster, api, _kueue(cluster))


def remove_kueue(cluster: Cluster, api: Api) -> None:
    """Its admission first, then its objects, which it lets go, and itself."""
    addon = _kueue(cluster)
    documents = _documents(cluster, addon)
    for configuration in documents:
        if configuration["kind"] != "CustomResourceDefinition":
            api.delete(f"{_PLACES[configuration['kind']]}/{_name(configuration)}")
    for definition in documents:
        if definition["kind"] == "CustomResourceDefinition":
            kind = definition["spec"]["names"]["plural"]
            for item in api.items(f"/apis/kueue.x-k8s.io/v1beta1/{kind}"):
                # Nobody is left to say that it may go.
                _let_go(api, kind, item)
            api.delete(f"{_DEFINITIONS}/{_name(definition)}")
    cluster.processes.stop(addon.process)


def _let_go(api: Api, kind: str, item: dict[str, Any]) -> None:
    space = item["metadata"].get("namespace")
    within = f"namespaces/{space}/" if space else ""
    path = f"/apis/kueue.x-k8s.io/v1beta1/{within}{kind}/{item['metadata']['name']}"
    try:
        api.ask("PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    except httpx.HTTPStatusError as e:
        if e.response.status_code != 404:
            raise


def _add(cluster: Cluster, api: Api, addon: _AddOn) -> None:
    processes = cluster.processes
    if processes.pid(addon.process) is not None:
        return
    documents = _documents(cluster, addon)
    definitions = [d for d in documents if d["kind"] == "CustomResourceDefinition"]
    for definition in definitions:
        api.create(_DEFINITIONS, definition)
    for definition in definitions:
        api.until(_DEFINITIONS, lambda d: condition(d, "Established").get("status") == "True", name=_name(definition))
    processes.start(addon.process, configs.commands(cluster.site, build())[addon.process])
    processes.wait(addon.process, lambda: _listens(addon.address))
    for configuration in documents:
        if configuration not in definitions:
            api.create(_PLACES[configuration["kind"]], configuration)
    processes.wait(addon.process, lambda: addon.admits(api))


def _documents(cluster: Cluster, addon: _AddOn) -> list[dict[str, Any]]:
    """What is made in the API, with the admission where it is here: not behind a Service, but beside the API server."""
    authority = base64.b64encode((folder(cluster.site) / "authority.crt").read_bytes()).decode()
    documents = [found for found in load_all(build()[addon.files].read_text(), CSafeLoader) if found]
    for document in documents:
        if "webhooks" not in document:
            continue
        document["metadata"]["name"] = f"{addon.files}-{_name(document)}"
        if addon.files == "kueue":
            # Called `mjob.kb.io` and the like.
            own = [f"{letter}{kind}.kb.io" for kind in _QUEUED for letter in "mv"]
            document["webhooks"] = [w for w in document["webhooks"] if w["name"] in own]
        for webhook in document["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"]
            webhook["clientConfig"] = {"url": f"https://{addon.address}{path}", "caBundle": authority}
            if "pods" in webhook["rules"][0]["resources"]:
                # As its project's own kustomization says: of no other pod it is asked.
                own_pods = {"key": "jobset.sigs.k8s.io/jobset-name", "operator": "Exists"}
                webhook["objectSelector"] = {"matchExpressions": [own_pods]}
    return documents


def _name(document: dict[str, Any]) -> str:
    return str(document["metadata"]["name"])


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError:
        return False
    return True


def _admits_jobsets(api: Api) -> bool:
    """What a JobSet leaves out is filled in, and what is wrong refused."""
    template = {"spec": {"containers": [{"name": "one", "image": "any"}]}}

    def asked(name: str) -> dict[str, Any]:
        jobs = [{"name": "one", "template": {"spec": {"template": template}}}]
        value = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": name},
                 "spec": {"replicatedJobs": jobs}}  # fmt: skip
        return api.create(f"{_JOBSETS}?dryRun=All", value)

    try:
        filled = "successPolicy" in asked("one")["spec"]
    except httpx.HTTPStatusError:
        return False
    try:
        asked("x" * 63)
    except httpx.HTTPStatusError as e:
        return filled and "too long" in e.response.text
    return False


def _admits_flavors(api: Api) -> bool:
    """What a flavor gets is there, and what is wrong with one is refused by words of Kueue's."""

    def asked(**spec: Any) -> dict[str, Any]:
        value = {"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "ResourceFlavor", "metadata": {"name": "one"}}
        return api.create(f"{_FLAVORS}?dryRun=All", {**value, "spec": spec})

    try:
        held = "kueue.x-k8s.io/resource-in-use" in (asked()["metadata"].get("finalizers") or ())
    except httpx.HTTPStatusError:
        return False
    try:
        asked(nodeTaints=[{"key": "@", "effect": "NoSchedule"}])
    except httpx.HTTPStatusError as e:
        return held and "spec.nodeTaints" in e.response.text
    return False
