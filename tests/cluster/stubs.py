"""Definitions of what add-ons bring (Kueue), so that a cluster without them takes their objects.

Nothing acts on them: what an add-on would do, the test does in its place.
"""

from __future__ import annotations

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


_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def install(api: Api, group: str, version: str, kinds: dict[str, str]) -> None:
    """Define ``kinds``, and wait until their objects can be made."""
    for plural, kind in kinds.items():
        api.create(_PATH, _definition(group, version, plural, kind))
    for plural in kinds:
        api.until(_PATH, _established, name=f"{plural}.{group}")
        while plural not in {r["name"] for r in api.get(f"/apis/{group}/{version}").get("resources", ())}:
            pass


def remove(api: Api, group: str, kinds: dict[str, str]) -> None:
    for plural in kinds:
        api.delete(f"{_PATH}/{plural}.{group}")


def _established(found: Object) -> bool:
    conditions = found.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
