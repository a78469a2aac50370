"""What every image of ours has, whatever was asked for: its user, its virtual environment, its search path. Constants.

As the SDK's own default image has them, so that a task finds the same paths in either.
"""

from __future__ import annotations

from ..kernel.canonical import Json

__all__ = ["LAYER_CEILING", "LOWEST_CEILING", "SYSTEM_PATH", "USER", "VENV"]

VENV = "/opt/venv"
USER: dict[str, Json] = {"name": "flyte", "uid": 1000, "gid": 1000, "home": "/home/flyte"}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

LAYER_CEILING, LOWEST_CEILING = 4 << 30, 16 << 20
"""What a layer of wheels may have where nothing else is said, and the least that can be asked for, in bytes. Public
registries take layers of 5 GB, 10 GB and more; what stands before a company's own often takes less."""
