"""Definitions of what add-ons bring (Kueue), so that a cluster without them takes their objects.

Nothing acts on them: what an add-on would do, the test does in its place.
"""

from __future__ import annotations

import time

import httpx

from .api import Api, Object

__all__ = ["install", "remove"]

KUEUE = {"localqueues": "LocalQueue", "workloads": "Workload"}


def _definition(group: str, version: str, plural: str, kind: str) -> Object:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {
        "name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
    }  # fmt: skip
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    annotations = {"api-approved.kubernetes.io": "unapproved, a stand-in for tests"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": annotations},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
    }  # fmt: skip


_TRIES, _PAUSE = 600, 0.1  # s
_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def install(api: Api, group: str, version: str, kinds: dict[str, str]) -> None:
    """Define ``kinds``, and wait until their objects can be made."""
    for plural, kind in kinds.items():
        api.create(_PATH, _definition(group, version, plural, kind))
    for plural in kinds:
        api.until(_PATH, _established, name=f"{plural}.{group}")
        for _ in range(_TRIES):
            if plural in _served(api, f"/apis/{group}/{version}"):
                break
            time.sleep(_PAUSE)
        else:
            raise AssertionError(f"{plural}.{group} is established, and not served after {_TRIES * _PAUSE:.0f} s")


def _served(api: Api, path: str) -> set[str]:
    """Of what is established the API server may know nothing yet."""
    try:
        return {row["name"] for row in api.get(path).get("resources", ())}
    except httpx.HTTPStatusError as e:
        if e.response.status_code not in (404, 503):
            raise
        return set()


def remove(api: Api, group: str, kinds: dict[str, str]) -> None:
    for plural in kinds:
        api.delete(f"{_PATH}/{plural}.{group}")


def _established(found: Object) -> bool:
    conditions = found.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
