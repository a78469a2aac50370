"""``secret_mounts`` of the SDK's layers → ours, by name. Part of the SDK's edge, like ``images.py``; reads no value."""

from __future__ import annotations

from typing import Any

import flyte

from ..kernel.errors import LoadError
from ..recipe import SecretMount

__all__ = ["secrets_of"]


def secrets_of(layer: Any, owner: str) -> tuple[SecretMount, ...]:
    """As the SDK's builder mounts them: in the file ``mount``, else as a variable. Raises :class:`LoadError`."""
    return tuple(_secret(one, owner) for one in layer.secret_mounts or ())


def _secret(one: Any, owner: str) -> SecretMount:
    try:
        secret = flyte.Secret(key=one) if isinstance(one, str) else one
    except ValueError as e:
        raise LoadError(
            f"{owner}: secret_mounts: `{one}` is not the name of a secret: {e}",
            hint="a secret is named by its key: the variable that holds it, in small letters or capitals",
        ) from None
    if secret.mount:
        return SecretMount(secret.key, secret.group, path=str(secret.mount))
    return SecretMount(secret.key, secret.group, env=str(secret.as_env_var))
