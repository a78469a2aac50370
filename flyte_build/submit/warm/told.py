"""What a process of ours inside of a sandbox is told when it starts: its programs, its command, its variables, its key.

Says of two actions whether one process may be for both. Starts nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..sandbox.spec import Mount, Sandbox

__all__ = [
    "ACTIONS", "IMAGE", "NEVER", "PLACE", "PRELOAD", "command", "key_of", "last_line", "programs", "texts", "whole",
]  # fmt: skip

PLACE = "/run/flyte-build"
IMAGE = f"{PLACE}/image"
# What the stock runtime imports in every action; what it imports later is found by a rehearsal.
PRELOAD = (
    "flyte._bin.runtime", "flyte._internal.runtime.entrypoints", "flyte._internal.controllers.remote",
    "flyte._internal.imagebuild.image_builder", "flyte.remote._client.controlplane",
)  # fmt: skip
# Variables of one action: no import reads them. The others are a worker's own.
ACTIONS = ("ACTION_NAME", "FLYTE_ATTEMPT_NUMBER")
# What runs something else than the task in this process.
NEVER = ("_F_E_VS", "_F_EXEC_WRAPPER")


def programs() -> tuple[Mount, ...]:
    """What runs inside, where ``command`` finds it."""
    here = Path(__file__).parent
    inside = (
        *(here / f"{n}.py" for n in ("becoming", "worker", "rehearsing", "stillness", "bundled", "replica")),
        here.parent / "sandbox" / "enter.py",
    )
    return tuple(Mount(path, f"{PLACE}/{path.name}") for path in inside)


def texts() -> dict[str, str]:
    """What runs inside of a pod, by its name beside the others."""
    found = {mount.target.rpartition("/")[2]: mount.source for mount in programs()}
    here = Path(__file__).parent
    found |= {path.name: path for path in (here / "calling.py", here.parent / "sandbox" / "init.py")}
    return {name: path.read_text() for name, path in found.items()}


def command(box: Sandbox, config: Mapping[str, object]) -> list[str]:
    return [box.python, "-I", "-S", f"{PLACE}/becoming.py", json.dumps(config)]


def whole(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that are not of one action alone."""
    return {k: v for k, v in env.items() if k not in ACTIONS}


def key_of(image: str, box: Sandbox, env: Mapping[str, str], libraries: Sequence[str] = ()) -> str:
    """What one process may be for, which has imported ``libraries``."""
    own = whole(env)
    facts = [image, box.python, box.network, box.filtered, sorted(own.items()), list(libraries)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").split("\n")
    except OSError:
        lines = []
    return next((line[:500] for line in reversed(lines) if line.strip()), "its worker ended at once")
