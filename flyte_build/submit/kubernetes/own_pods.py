"""What every pod of our own image has alike: one container without rights, as nobody's user, with the storage's Secret.

Tasks' pods are none of these (see ``pod``): what they may do is their template's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .drive import storage_env
from .needs import Needs, require
from .target import Target

__all__ = ["own_pod"]

_PYTHON = "/opt/venv/bin/python"


def own_pod(
    container: Mapping[str, Any], module: str, told: tuple[str, Mapping[str, Any]], target: Target, needs: Needs
) -> dict[str, Any]:
    """The pod of ``container`` (its name, image, resources and what is special to it), which runs the module of this
    package. ``told``: a variable, and what it says as JSON; ``needs`` is what the image needs of a node."""
    place, (name, request) = target.place, told
    env = [
        {"name": name, "value": json.dumps(request, sort_keys=True)},
        *({"name": key, "value": value} for key, value in storage_env(target).items()),
    ]
    own: dict[str, Any] = {
        **container,
        "command": [_PYTHON, "-I", "-m", f"{__package__}.{module}"],
        "env": env,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if place.storage_secret:
        own["envFrom"] = [{"secretRef": {"name": place.storage_secret}}]
    pod: dict[str, Any] = {
        "containers": [own],
        "enableServiceLinks": False,
        # It holds nothing that would have to be written down before it goes.
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    if place.pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in place.pull_secrets]
    require(needs, pod, place.profile)
    return pod
