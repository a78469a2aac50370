"""What a pod knows of itself: the downward API's fields and resources, and the expansion of ``$(NAME)``.

As Kubernetes has it (its documentation, "Downward API" and "Dependent Environment Variables"); what only a cluster has
(a node, addresses) is this machine. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from ...kernel.values import dataclass, field
from ..kubernetes.errors import Unplaceable
from ..template import quantity

__all__ = ["PodFacts", "expand"]

_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")
_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def expand(text: str, known: Mapping[str, str]) -> str:
    """``$(NAME)`` as the value of NAME where it is known, ``$$`` as ``$``; anything else stays as it is."""

    def one(found: re.Match[str]) -> str:
        return "$" if found[1] is None else known.get(found[1], found[0])

    return _REFERENCE.sub(one, text)


@dataclass(frozen=True, slots=True)
class PodFacts:
    """``resources``: container → its ``resources``; ``machine``: what there is of each (cores, bytes)."""

    name: str
    namespace: str
    uid: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    node: str
    account: str = "default"
    resources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    machine: Mapping[str, Decimal] = field(default_factory=dict)

    def field(self, path: str) -> str:
        """The value of a ``fieldRef``. Raises :class:`Unplaceable` for a field that no pod has."""
        if keyed := _KEYED.fullmatch(path):
            return (self.labels if keyed[1] == "labels" else self.annotations).get(keyed[2], "")
        plain = {
            "metadata.name": self.name,
            "metadata.namespace": self.namespace,
            "metadata.uid": self.uid,
            "spec.nodeName": self.node,
            "spec.serviceAccountName": self.account,
            **dict.fromkeys(("status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"), "127.0.0.1"),
            "metadata.labels": _rows(self.labels),
            "metadata.annotations": _rows(self.annotations),
        }
        if path not in plain:
            raise Unplaceable(
                f"a pod template asks for the field {path}, expected one of {', '.join(sorted(plain))}, "
                "metadata.labels['KEY'], metadata.annotations['KEY']"
            )
        return plain[path]

    def resource(self, reference: Mapping[str, Any], own: str) -> str:
        """The value of a ``resourceFieldRef`` in the container ``own``: rounded up to whole divisors."""
        container, name = str(reference.get("containerName") or own), str(reference.get("resource"))
        kind, _, what = name.partition(".")
        if kind not in ("limits", "requests") or container not in self.resources:
            raise Unplaceable(f"a pod template asks for {name} of container {container}, which there is not")
        given = self.resources[container]
        limits, requests = (given.get(k) or {} for k in ("limits", "requests"))
        stated = limits.get(what) if kind == "limits" else requests.get(what, limits.get(what))
        try:
            found = quantity(str(stated)) if stated is not None else self._unstated(kind, what)
            divisor = quantity(str(reference.get("divisor") or "1")) or Decimal(1)
        except ValueError as e:
            raise Unplaceable(f"a pod template, {name} of container {container}: {e}") from None
        return str(int((found / divisor).to_integral_value(ROUND_CEILING)))

    def _unstated(self, kind: str, what: str) -> Decimal:
        """Without a limit, all that a node has is the limit."""
        return self.machine.get(what, Decimal(0)) if kind == "limits" else Decimal(0)


def _rows(table: Mapping[str, str]) -> str:
    """As a file of a downward API volume has them."""
    return "\n".join(f'{key}="{value}"' for key, value in sorted(table.items()))
