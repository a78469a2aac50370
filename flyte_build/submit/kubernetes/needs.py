"""What an image needs of the node that it runs on: a platform that it is for, and a driver that knows its CUDA.

Both become expressions of the pod's required node affinity, so that no scheduler puts it where it cannot run; and where
no node could hold it for that reason alone, it is said before anything is made. A node that tells nothing of its driver
is taken as it is. Pure.

CUDA's rule: programs of one major version run with every driver of that major version or a newer one (NVIDIA, "CUDA
Compatibility", minor version compatibility). What a driver is for is what gpu-feature-discovery calls the runtime's
version: cuDriverGetVersion of the driver, whatever is installed besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...kernel.values import dataclass
from .fit import misfit_of
from .profiles import Profile

__all__ = ["NOTHING", "Needs", "platform_of", "require", "unsuited"]

_ARCH, _OS = "kubernetes.io/arch", "kubernetes.io/os"
_PARTITION = "nvidia.com/mig-"
# CUDA's major versions that any driver of these days could be for at most, when it is too old.
_OLDEST_CUDA = 8
_DRIVERS = (
    "nvidia.com/cuda.driver-version.full",
    "nvidia.com/cuda.driver-version.major",
    "nvidia.com/cuda.driver.major",
)
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Needs:
    """``platforms`` (``linux/amd64``) are all that the image is for, none where nobody knows; ``cuda`` is the version
    that its wheels are made for (``12.4``), empty for none."""

    platforms: tuple[str, ...] = ()
    cuda: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"platforms": list(self.platforms), "cuda": self.cuda}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Needs:
        return cls(tuple(map(str, told.get("platforms") or ())), str(told.get("cuda") or ""))

    @property
    def major(self) -> int:
        """CUDA's; 0 for none."""
        return int(self.cuda.partition(".")[0] or 0)


NOTHING = Needs()


def require(needs: Needs, pod: dict[str, Any], profile: Profile) -> None:
    """Put what ``needs`` says into ``pod``: each term of its node affinity has to say it, for terms are alternatives.

    Nodes of an architecture are tainted by it where a cluster has several (GKE does so); an image that is for it
    bears that.
    """
    expressions = [*_platform(needs), *(_driver(needs, profile) if _has_gpu(pod, profile) else ())]
    if not expressions:
        return
    affinity = pod.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.get("nodeSelectorTerms") or [{}]
    required["nodeSelectorTerms"] = [
        {**term, "matchExpressions": [*(term.get("matchExpressions") or ()), *expressions]} for term in terms
    ]
    borne = [
        {"key": _ARCH, "operator": "Equal", "value": arch, "effect": "NoSchedule"}
        for arch in _words(needs.platforms, 1)
        if arch != "amd64"
    ]
    if borne:
        pod["tolerations"] = [*(pod.get("tolerations") or ()), *borne]


def _platform(needs: Needs) -> list[dict[str, Any]]:
    if not needs.platforms:
        return []
    return [
        {"key": _OS, "operator": "In", "values": _words(needs.platforms, 0)},
        {"key": _ARCH, "operator": "In", "values": _words(needs.platforms, 1)},
    ]


def _words(platforms: Iterable[str], place: int) -> list[str]:
    """Of ``OS/ARCH`` or ``OS/ARCH/VARIANT``, which nodes have no label for."""
    return sorted({platform.split("/")[place] for platform in platforms})


def _driver(needs: Needs, profile: Profile) -> list[dict[str, Any]]:
    """A label that a node has not is not among the values: so nothing is asked of nodes that do not tell."""
    older = [str(major) for major in range(_OLDEST_CUDA, needs.major)]
    return [{"key": label, "operator": "NotIn", "values": older} for label in profile.cuda_labels] if older else []


def _has_gpu(pod: Object, profile: Profile) -> bool:
    """Whether any of its containers has a device of NVIDIA's."""
    limits = [
        (c.get("resources") or {}).get("limits") or {} for c in (*(pod.get("initContainers") or ()), *pod["containers"])
    ]
    nvidia = profile.resources.get("nvidia")
    return any(name == nvidia or str(name).startswith(_PARTITION) for limit in limits for name in limit)


def unsuited(needs: Needs, pod: Object, nodes: Sequence[Object], profile: Profile) -> tuple[str, str] | None:
    """Why none of the ``nodes`` that could else hold ``pod`` suits its image, and what to do; ``None``: some does, or
    it is for other reasons that none could (see ``fit``)."""
    free = _without(pod, [*_platform(needs), *_driver(needs, profile)])
    able = [node for node in nodes if misfit_of(free, node) is None]
    if not able or not (needs.platforms or needs.major):
        return None
    mine = [node for node in able if not needs.platforms or platform_of(node) in needs.platforms]
    if not mine:
        there = ", ".join(sorted({platform_of(node) or "of no platform that they tell" for node in able}))
        said = f"its image is for {', '.join(needs.platforms)}, and {_nodes(able, 'is', 'are')} {there}"
        return said, f"give the image that platform (`platform=({', '.join(map(repr, _tell(able)))},)`), and lock again"
    if any(misfit_of(pod, node) is None for node in mine) or not _has_gpu(pod, profile):
        return None
    drivers = ", ".join(sorted({_told(node, profile) for node in mine}))
    said = f"its locked wheels are made for CUDA {needs.cuda}, and {_nodes(mine, 'has', 'have')} {drivers}"
    return said, f"lock wheels of an older CUDA, or have drivers that are for CUDA {needs.major} installed"


def platform_of(node: Object) -> str:
    """``OS/ARCH`` by Kubernetes' own labels; empty without one."""
    labels = node["metadata"].get("labels") or {}
    return f"{labels.get(_OS, 'linux')}/{labels[_ARCH]}" if labels.get(_ARCH) else ""


def _tell(nodes: Iterable[Object]) -> list[str]:
    return sorted({platform for node in nodes if (platform := platform_of(node))})


def _nodes(nodes: Sequence[Object], one: str, many: str) -> str:
    more = len(nodes) > 1
    return f"the {f'{len(nodes)} nodes' if more else 'one node'} that could hold it {many if more else one}"


def _told(node: Object, profile: Profile) -> str:
    """What a node says of its driver."""
    labels = node["metadata"].get("labels") or {}
    driver = next((labels[name] for name in _DRIVERS if name in labels), "")
    cuda = next((labels[name] for name in profile.cuda_labels if name in labels), "")
    return f"{f'driver {driver}' if driver else 'a driver'} for CUDA {cuda}"


def _without(pod: Object, expressions: Sequence[Object]) -> Object:
    """``pod`` without these expressions in its required node affinity; a term that says nothing else holds for all."""
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = [
        {**term, "matchExpressions": [e for e in term.get("matchExpressions") or () if e not in expressions]}
        for term in required.get("nodeSelectorTerms") or ()
    ]
    return {**pod, "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": terms,
    }}}}  # fmt: skip
