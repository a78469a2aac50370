"""Which CUDA an image's locked wheels are made for: what a node's driver has to be new enough for.

Read off names and versions alone: NVIDIA's own runtime wheels, PyTorch's local versions, packages that have CUDA's
major version in their names, and what conda's packages agree on. Packages that bring no CUDA say nothing, and none is
opened.
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
# Conda's packages of one environment are all for the CUDA of one of these.
_CONDA = ("cuda-version", "cudatoolkit")
# With its libraries in the image an older driver will do (NVIDIA's "forward compatibility").
_COMPAT = "cuda-compat"


def cuda_of(platform: LockedPlatform) -> str:
    """``MAJOR.MINOR`` or ``MAJOR`` of the newest CUDA that its packages are made for; empty: none, or not known.

    An image that stands on a registry's base may have NVIDIA's compatibility libraries in it, and nothing is said then.
    """
    names = [*(deb.name for deb in platform.debs), *(package.name for package in platform.conda)]
    if platform.base is not None or any(name.startswith(_COMPAT) for name in names):
        return ""
    stated = [re.match(r"(\d+)\.(\d+)", one.version) for one in platform.conda if one.name in _CONDA]
    found = [(int(told[1]), int(told[2])) for told in stated if told]
    return _newest([*found, *_all(platform.wheels)])


def cuda_of_wheels(wheels: Iterable[LockedWheel]) -> str:
    """The same for wheels by themselves."""
    return _newest(_all(wheels))


def _all(wheels: Iterable[LockedWheel]) -> list[tuple[int, ...]]:
    return [version for wheel in wheels if (version := _cuda(wheel))]


def _newest(found: list[tuple[int, ...]]) -> str:
    return ".".join(map(str, max(found))) if found else ""


def _cuda(wheel: LockedWheel) -> tuple[int, ...]:
    if _RUNTIME.fullmatch(wheel.name) and (told := re.match(r"(\d+)\.(\d+)", wheel.version)):
        return int(told[1]), int(told[2])
    if told := _LOCAL.search(wheel.version):
        return int(told[1][:-1]), int(told[1][-1])
    if told := _NAMED.fullmatch(wheel.name):
        return (int(told[1]),)
    return ()
