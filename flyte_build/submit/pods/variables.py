"""A container's variables, one after the other, as Kubernetes makes them.

Pure; values of secrets are never in a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..kubernetes.errors import Unplaceable
from ..secrets import MissingSecret
from .facts import PodFacts, expand
from .given import Given

__all__ = ["config", "secret", "variables"]


def variables(container: Mapping[str, Any], facts: PodFacts, given: Given) -> dict[str, str]:
    """``envFrom``, then ``env``: what comes later wins, and may name what came before as ``$(NAME)``.

    Raises :class:`MissingSecret`, and :class:`Unplaceable` for what no pod has.
    """
    found: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = str(source.get("prefix") or "")
        if (told := source.get("configMapRef")) is not None:
            found |= {f"{prefix}{k}": v for k, v in (config(given, told) or {}).items()}
        elif (told := source.get("secretRef")) is not None and not told.get("optional"):
            raise Unplaceable(
                f"a pod template takes all of the Secret {told.get('name')} as variables, and its keys are not "
                "known here",
                hint="name each key in `env`, with `valueFrom.secretKeyRef`",
            )
    for row in container.get("env") or ():
        value = _value(row, container, found, facts, given)
        if value is not None:
            found[str(row["name"])] = value
    return found


def _value(
    row: Mapping[str, Any], container: Mapping[str, Any], known: Mapping[str, str], facts: PodFacts, given: Given
) -> str | None:
    source = row.get("valueFrom")
    if not source:
        return expand(str(row.get("value") or ""), known)
    if (told := source.get("fieldRef")) is not None:
        return facts.field(str(told.get("fieldPath")))
    if (told := source.get("resourceFieldRef")) is not None:
        return facts.resource(told, str(container.get("name")))
    if (told := source.get("secretKeyRef")) is not None:
        return secret(given, str(told.get("name")), str(told.get("key")), optional=bool(told.get("optional")))
    if (told := source.get("configMapKeyRef")) is not None:
        return _key(config(given, told), told, given)
    raise Unplaceable(f"a pod template takes variable {row.get('name')} from {', '.join(source)}, which is not known")


def config(given: Given, told: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The data of the ConfigMap that ``told`` names; ``None`` where it is not there and need not be."""
    name = str(told.get("name"))
    found = given.shelf.configs.get(name)
    if found is None and not told.get("optional"):
        raise Unplaceable(
            f"a pod template takes the ConfigMap {name}, which is not here", hint=given.shelf.where("ConfigMap", name)
        )
    return found


def _key(found: Mapping[str, str] | None, told: Mapping[str, Any], given: Given) -> str | None:
    key = str(told.get("key"))
    if found is not None and key in found:
        return found[key]
    if told.get("optional"):
        return None
    raise Unplaceable(f"a pod template takes key {key} of the ConfigMap {told.get('name')}, which has no such key")


def secret(given: Given, name: str, key: str, *, optional: bool) -> str | None:
    """A Secret's value; ``None`` where it is not there and need not be."""
    value = given.secret(name, key)
    if value is None and not optional:
        raise MissingSecret(
            f"key {key!r} of the Secret {name!r} of a pod template is not set: expected its value in the environment "
            f"variable {given.variable(name, key)}"
        )
    return value
