"""Which accelerators a cluster's nodes offer, by the words of its profile: what a task may ask for, and who offers it.

Pure: nodes come as the API lists them. Never looks at what is free now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from ...kernel.values import dataclass
from ..template import quantity
from .profiles import Profile

__all__ = ["Devices", "devices_of"]

_MIG = "nvidia.com/mig-"


@dataclass(frozen=True, slots=True)
class Devices:
    """``count`` of ``resource`` on ``nodes`` nodes whose ``label`` (empty: the profile has none for it) says ``device``
    (``None``: they are without it, so that no task that names a device finds them)."""

    resource: str
    count: int
    nodes: int
    label: str = ""
    device: str | None = None

    def __str__(self) -> str:
        on = f"on {self.nodes} node{'' if self.nodes == 1 else 's'}"
        what = f" ({self.device})" if self.device is not None else f", without {self.label}" if self.label else ""
        return f"{self.count} {self.resource} {on}{what}"


def devices_of(nodes: Iterable[Mapping[str, Any]], profile: Profile) -> tuple[Devices, ...]:
    """What ``nodes`` offer, the most first."""
    labels = {profile.resources[kind]: profile.device_labels.get(kind, "") for kind in profile.resources}
    found: dict[tuple[str, str, str | None], list[int]] = {}
    for node in nodes:
        have = node["metadata"].get("labels") or {}
        for resource, offered in ((node.get("status") or {}).get("allocatable") or {}).items():
            partition = resource.startswith(_MIG)
            if (resource not in labels and not partition) or not (count := int(_whole(offered))):
                continue
            label = labels.get(resource, profile.device_labels.get("nvidia", ""))
            entry = found.setdefault((resource, label, have.get(label)), [0, 0])
            entry[0] += count
            entry[1] += 1
    every = [
        Devices(resource, count, nodes, label, device) for (resource, label, device), (count, nodes) in found.items()
    ]
    return tuple(sorted(every, key=lambda d: (-d.count, d.resource, d.device or "")))


def _whole(offered: object) -> Decimal:
    try:
        return quantity(str(offered))
    except ValueError:
        return Decimal(0)
