"""A task's secrets in a pod: variables from a Secret's keys, and files below one folder. Values never pass here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..action import SecretRef
from ..secrets import MOUNT
from .errors import Unplaceable

__all__ = ["mount_secrets", "object_of"]

VOLUME = "flyte-build-secrets"
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")


def object_of(secret: SecretRef, default: str) -> tuple[str, str]:
    """The Secret and the key in it: a group is a Secret; raises :class:`Unplaceable` for names that none can have."""
    name = secret.group or default
    if not _NAME.fullmatch(name) or not _KEY.fullmatch(secret.key):
        raise Unplaceable(
            f"secret {secret.key!r} of group {secret.group!r} cannot be a key of a Secret of a cluster",
            hint="a group is a Secret's name (lower case, digits, `-`, `.`), a key is letters, digits, `-`, `_`, `.`",
        )
    return name, secret.key


def mount_secrets(secrets: Iterable[SecretRef], main: dict[str, Any], pod: dict[str, Any], default: str) -> None:
    """Give ``main`` of ``pod`` its secrets. ``default`` is the Secret of those without a group.

    Files are at ``/etc/flyte/secrets/<group>/<key>``, all in one projected volume: volumes below one another are not
    possible where the upper one is read-only.
    """
    sources: dict[str, list[dict[str, str]]] = {}
    variables = main.setdefault("env", [])
    for secret in secrets:
        name, key = object_of(secret, default)
        if secret.env is None:
            path = f"{secret.group}/{key}" if secret.group else key
            sources.setdefault(name, []).append({"key": key, "path": path})
        else:
            variables[:] = [v for v in variables if v.get("name") != secret.env]
            variables.append({"name": secret.env, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}})
    if sources:
        projected = [{"secret": {"name": name, "items": items}} for name, items in sources.items()]
        volume = {"name": VOLUME, "projected": {"defaultMode": 0o440, "sources": projected}}
        pod.setdefault("volumes", []).append(volume)
        main.setdefault("volumeMounts", []).append({"name": VOLUME, "mountPath": MOUNT, "readOnly": True})
