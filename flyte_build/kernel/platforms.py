"""Platforms of images, as OCI names them (image-spec v1.1, image-index.md): ``linux/amd64`` and ``linux/arm64``."""

from __future__ import annotations

import os
from typing import Literal, TypeAlias

from .errors import RefusedError

__all__ = ["Platform", "host_platform"]

Platform: TypeAlias = Literal["linux/amd64", "linux/arm64"]

_MACHINES: dict[str, Platform] = {
    "x86_64": "linux/amd64",
    "amd64": "linux/amd64",
    "aarch64": "linux/arm64",
    "arm64": "linux/arm64",
}


def host_platform() -> Platform:
    """The platform whose images this machine runs; raises :class:`RefusedError` on any other."""
    machine = os.uname().machine.lower()
    if machine not in _MACHINES:
        raise RefusedError(f"no image platform for this machine ({machine}); known: {', '.join(_MACHINES)}")
    return _MACHINES[machine]
