"""The sandbox through unshare(1) of util-linux, where bubblewrap is not installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ...kernel.values import dataclass, field
from .spec import MASKED, READ_ONLY, Sandbox

__all__ = ["Unshare", "description"]


def description(box: Sandbox) -> dict[str, Any]:
    """What ``enter`` builds of ``box``."""
    return {
        "root": str(box.root),
        "masked": () if box.nests else MASKED,
        "read_only": () if box.nests else READ_ONLY,
        "tmpfs": [[t.target, t.size, t.inodes] for t in box.tmpfs],
        "mounts": [[str(m.source), m.target, m.writable] for m in box.mounts],
        "late": [[t.target, t.size, t.inodes] for t in box.late],
        "loopback": box.network == "none",
    }


@dataclass(frozen=True, slots=True)
class Unshare:
    """``program`` is unshare's absolute path (util-linux 2.36 or later, for ``--map-user`` and ``--keep-caps``).

    ``python`` runs ``script``, the second half.
    """

    program: str
    name: str = "unshare"
    python: str = sys.executable
    script: Path = field(default=Path(__file__).with_name("enter.py"))

    def command(self, box: Sandbox, seccomp: int | None = None) -> list[str]:
        out = [self.program, "--user", f"--map-user={box.uid}", f"--map-group={box.gid}", "--keep-caps"]
        out += ["--mount", "--pid", "--fork", "--ipc", "--uts", "--kill-child=KILL"]
        if box.network == "none":
            out.append("--net")
        spec = description(box) | {"seccomp": seccomp, "command": list(box.first)}
        return [*out, "--", self.python, "-I", "-S", str(self.script), json.dumps(spec)]
