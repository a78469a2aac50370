"""What of a cluster runs, how much memory it takes, and whether it answers; for people and, as JSON, for programs."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from .api import condition
from .certificates import folder
from .cluster import Cluster
from .configs import NODE
from .processes import memory
from .site import Site, read_site

__all__ = ["report", "table"]

_TIMEOUT = 5
_PARTS = (
    *("registry", "etcd", "apiserver", "controllers", "scheduler", "services", "s3"),
    *("node", "containerd", "kubelet", "gpus"),
)


def report(cluster: Cluster) -> dict[str, Any]:
    """``healthy``: whether every part is. ``parts``: ``part``, ``pid`` or null, ``memory`` in bytes, ``healthy``.

    Of a cluster also ``kubeconfig``, ``registry``, ``gateway`` (this machine, to pods) and ``s3`` with its keys' file.
    """
    site = read_site(cluster.home)
    if site is None:
        return {"home": str(cluster.home), "healthy": False, "parts": []}
    pids = cluster.pids()
    healthy = _health(site)
    parts = []
    for part in [*_PARTS, *(name for name in pids if name not in _PARTS)]:
        pid = pids.get(part)
        well = pid is not None and healthy.get(part, lambda: True)()
        parts.append({"part": part, "pid": pid, "memory": memory(pid) if pid else 0, "healthy": well})
    return {
        "home": str(cluster.home),
        "healthy": all(row["healthy"] for row in parts),
        "kubeconfig": str(site.kubeconfig),
        "api": f"https://{site.api}",
        "registry": site.registry,
        "gateway": site.gateway,
        "s3": {"endpoint": site.s3_endpoint, "keys": str(site.home / "s3.json")},
        "parts": parts,
    }


def table(found: Mapping[str, Any]) -> str:
    if not found["parts"]:
        return f"no cluster in {found['home']}"
    rows = [("part", "pid", "MiB", "healthy")]
    for part in found["parts"]:
        rows.append(
            (part["part"], str(part["pid"] or "-"), str(part["memory"] >> 20), "yes" if part["healthy"] else "NO")
        )
    total = sum(part["memory"] for part in found["parts"]) >> 20
    rows.append(("", "", str(total), ""))
    lines = [f"{part:<12} {pid:>8} {size:>6}  {healthy}".rstrip() for part, pid, size, healthy in rows]
    for name in ("api", "registry", "gateway"):
        lines.append(f"{name:<12} {found[name]}")
    lines.append(f"{'s3':<12} {found['s3']['endpoint']}, keys in {found['s3']['keys']}")
    return "\n".join(lines)


def _health(site: Site) -> dict[str, Callable[[], bool]]:
    """Part → whether it answers well; of the others it is enough that they run."""
    keys = folder(site)
    trust = ssl.create_default_context(cafile=str(keys / "authority.crt"))
    trust.load_cert_chain(keys / "admin.crt", keys / "admin.key")

    def answers(url: str, verify: ssl.SSLContext | bool = True) -> Callable[[], bool]:
        def ask() -> bool:
            try:
                return httpx.get(url, verify=verify, timeout=_TIMEOUT, trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        return ask

    def ready() -> bool:
        try:
            found = httpx.get(
                f"https://{site.api}/api/v1/nodes/{NODE}", verify=trust, timeout=_TIMEOUT, trust_env=False
            )
        except httpx.TransportError:
            return False
        return found.status_code == 200 and condition(found.json(), "Ready").get("status") == "True"

    return {
        "registry": answers(f"http://{site.registry}/v2/"),
        "etcd": answers(f"http://{site.etcd}/health"),
        "apiserver": answers(f"https://{site.api}/readyz", trust),
        # They sign their own certificates.
        "controllers": answers(f"https://127.0.0.1:{site.controllers_port}/healthz", False),
        "scheduler": answers(f"https://127.0.0.1:{site.scheduler_port}/healthz", False),
        "services": answers(f"https://{site.gateway}:443/readyz", trust),
        "s3": answers(f"{site.s3_endpoint}/health"),
        "kubelet": answers(f"https://{site.node}:10250/healthz", trust),
        "node": ready,
    }
