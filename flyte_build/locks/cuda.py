"""Which CUDA an image's locked wheels are made for: what a node's driver has to be new enough for.

Read off names and versions alone: NVIDIA's own runtime wheels, PyTorch's local versions, and packages that have CUDA's
major version in their names. Wheels that bring no CUDA say nothing, and no wheel is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .nouns import LockedPlatform, LockedWheel

__all__ = ["cuda_of", "cuda_of_wheels"]

# The runtime's wheel has CUDA's version as its own: nvidia-cuda-runtime-cu12 12.4.127, nvidia-cuda-runtime 13.0.48.
_RUNTIME = re.compile(r"nvidia-cuda-runtime(-cu\d+)?")
# PEP 440 local versions of PyTorch and what is built with it: 2.5.1+cu124. The last digit is the minor version.
_LOCAL = re.compile(r"\+cu(\d{2,3})\b")
_NAMED = re.compile(r"(?:jax-cuda|cupy-cuda)(\d{2})(?:x|-plugin|-pjrt)?")
# With its libraries in the image an older driver will do (NVIDIA's "forward compatibility").
_COMPAT = "cuda-compat"


def cuda_of(platform: LockedPlatform) -> str:
    """``MAJOR.MINOR`` or ``MAJOR`` of the newest CUDA that its wheels are made for; empty: none, or it cannot be said.

    An image that stands on a registry's base may have NVIDIA's compatibility libraries in it, and nothing is said then.
    """
    if platform.base is not None or any(deb.name.startswith(_COMPAT) for deb in platform.debs):
        return ""
    return cuda_of_wheels(platform.wheels)


def cuda_of_wheels(wheels: Iterable[LockedWheel]) -> str:
    """The same for wheels by themselves."""
    found = [version for wheel in wheels if (version := _cuda(wheel))]
    return ".".join(map(str, max(found))) if found else ""


def _cuda(wheel: LockedWheel) -> tuple[int, ...]:
    if _RUNTIME.fullmatch(wheel.name) and (told := re.match(r"(\d+)\.(\d+)", wheel.version)):
        return int(told[1]), int(told[2])
    if told := _LOCAL.search(wheel.version):
        return int(told[1][:-1]), int(told[1][-1])
    if told := _NAMED.fullmatch(wheel.name):
        return (int(told[1]),)
    return ()
