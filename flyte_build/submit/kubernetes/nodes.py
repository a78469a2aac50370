"""For which platforms a cluster's nodes are, where one may ask."""

from __future__ import annotations

from .api import ApiError, Cluster

__all__ = ["platforms"]


def platforms(cluster: Cluster) -> tuple[str, ...]:
    """``OS/ARCH`` of the nodes there are; none where this account may not list them. Raises :class:`ApiError`.

    The labels are Kubernetes' own well-known ones; their architectures have the names of OCI's.
    """
    found: dict[str, None] = {}
    more = ""
    while True:
        query = {"limit": "500", **({"continue": more} if more else {})}
        try:
            page = cluster.request("GET", "/api/v1/nodes", query)
        except ApiError as e:
            if e.status not in (403, 404):
                raise
            return ()
        for node in page.get("items") or ():
            labels = node["metadata"].get("labels") or {}
            if arch := labels.get("kubernetes.io/arch"):
                found[f"{labels.get('kubernetes.io/os', 'linux')}/{arch}"] = None
        more = str((page.get("metadata") or {}).get("continue") or "")
        if not more:
            return tuple(sorted(found))
