"""A kubeconfig that leads to one API server, as whoever made the cluster hands it out."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["write_kubeconfig"]


def write_kubeconfig(file: Path, server: str, namespace: str = "default") -> Path:
    """``file`` with the contexts ``ours``, which is the current one, and ``other``, that leads nowhere."""
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": "ours",
        "clusters": [
            {"name": "ours", "cluster": {"server": server}},
            {"name": "other", "cluster": {"server": "http://127.0.0.1:1"}},
        ],
        "users": [{"name": "me", "user": {}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": "me", "namespace": namespace}}
            for name in ("ours", "other")
        ],
    }  # fmt: skip
    file.write_text(json.dumps(document), encoding="utf-8")
    return file
