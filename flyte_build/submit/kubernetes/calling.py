"""What tells a pod where its run's service is, and which action asks. Pure; no token is in it, only where one lies."""

from __future__ import annotations

from typing import Any

from ..control.addressing import AS

__all__ = ["ENDPOINT", "service_of"]

ENDPOINT = "endpoint"
"""The key of the run's Secret that holds the actions service's address, with its token."""
_ADDRESS = "_FLYTE_BUILD_SERVICE"


def service_of(secret: str, action: str) -> list[dict[str, Any]]:
    """The container's variables: the address of ``secret``, and who asks; Kubernetes puts the one into the other."""
    held = {"secretKeyRef": {"name": secret, "key": ENDPOINT}}
    asks = {"name": "_U_EP_OVERRIDE", "value": f"$({_ADDRESS})/{AS}/{action}"}
    return [{"name": _ADDRESS, "valueFrom": held}, asks]
