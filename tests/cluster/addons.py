"""JobSet in the cluster as its own project has it: definition, controllers and admission, of the version in ``go.mod``.

Not part of ``up``: whoever wants it adds it.
"""

from __future__ import annotations

import base64
import socket
from typing import Any

import httpx
from yaml import CSafeLoader, load_all  # type: ignore[import-untyped]

from . import configs
from .api import Api, condition
from .build import build
from .certificates import folder
from .cluster import Cluster

__all__ = ["add_jobset"]

_NAME = "jobsets"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PLACES = {
    "CustomResourceDefinition": _DEFINITIONS,
    "MutatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
}
_JOBSETS = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/default/jobsets"


def add_jobset(cluster: Cluster, api: Api) -> None:
    """Returns once a JobSet that is made is admitted by its own admission; nothing if it is there.

    :raises ClusterError: it does not come to that
    """
    if cluster.processes.pid(_NAME) is not None:
        return
    definition, *admission = _documents(cluster)
    api.create(_DEFINITIONS, definition)
    api.until(_DEFINITIONS, lambda d: condition(d, "Established").get("status") == "True", name=_name(definition))
    processes = cluster.processes
    processes.start(_NAME, configs.commands(cluster.site, build())[_NAME])
    processes.wait(_NAME, lambda: _listens(cluster.site.admission))
    for configuration in admission:
        api.create(_PLACES[configuration["kind"]], configuration)
    processes.wait(_NAME, lambda: _admits(api))


def _documents(cluster: Cluster) -> list[dict[str, Any]]:
    """What is made in the API, with the admission where it is here: not behind a Service, but beside the API server."""
    authority = base64.b64encode((folder(cluster.site) / "authority.crt").read_bytes()).decode()
    documents = [found for found in load_all(build()["jobset"].read_text(), CSafeLoader) if found]
    for webhook in (w for document in documents for w in document.get("webhooks", ())):
        path = webhook["clientConfig"]["service"]["path"]
        webhook["clientConfig"] = {"url": f"https://{cluster.site.admission}{path}", "caBundle": authority}
        if "pods" in webhook["rules"][0]["resources"]:
            # As its project's own kustomization says: of no other pod it is asked.
            own = {"key": "jobset.sigs.k8s.io/jobset-name", "operator": "Exists"}
            webhook["objectSelector"] = {"matchExpressions": [own]}
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


def _admits(api: Api) -> bool:
    """Whether the API server has heard of it all: what a JobSet leaves out is filled in, and what is wrong refused."""
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
