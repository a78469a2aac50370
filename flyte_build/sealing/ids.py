"""Which ids of this machine stand for those of a step: root and 65,535 others, as images use them.

Root may map any range; a user the one that /etc/subuid and /etc/subgid give, through newuidmap(1) and newgidmap(1).
With a single id nothing could be given to another owner, which installers do: such a machine cannot seal.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from ..kernel.errors import SandboxError

__all__ = ["COUNT", "map_ids", "owner"]

COUNT = 65536
# Beyond what useradd gives to users and to containers' users, below what tasks run as (submit).
_FIRST = 458752


def owner() -> int | None:
    """Who owns a folder that is root's inside, where that is not this process's own user."""
    return _first() if os.geteuid() == 0 else None


def map_ids(pid: int) -> None:
    """Give the user namespace of ``pid`` its ids. Raises :class:`SandboxError` that says what this machine lacks."""
    try:
        if os.geteuid() == 0:
            for kind in ("uid", "gid"):
                Path(f"/proc/{pid}/{kind}_map").write_text(f"0 {_first()} {COUNT}\n", encoding="ascii")
            return
        for tool, file, own in (
            ("newuidmap", "/etc/subuid", os.geteuid()),
            ("newgidmap", "/etc/subgid", os.getegid()),
        ):
            start, count = _range(file)
            program = shutil.which(tool)
            if program is None:
                raise SandboxError(
                    f"steps that run programs need a range of ids, and {tool} is not installed",
                    hint="`apt install uidmap`",
                )
            command = [program, str(pid), "0", str(own), "1", "1", str(start), str(min(count, COUNT - 1))]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SandboxError(
                    f"{tool}: {done.stderr.strip()}",
                    hint=f"{file} has to grant this user the range (newuidmap(1)), or lock as root",
                )
    except OSError as e:
        raise SandboxError(
            f"the ids of a step cannot be mapped: {e.strerror or e}",
            hint="in a container, run it with the host's user namespace, or as a user with ranges in /etc/subuid",
        ) from None


def _first() -> int:
    """The first id that stands for one of a step's, root mapping: of this process's own namespace, where it has so
    many."""
    ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    inside = [(start, count) for start, _, count in ranges if count > COUNT]
    if any(start <= _FIRST and start + count >= _FIRST + COUNT for start, count in inside) or not inside:
        return _FIRST
    start, _ = inside[0]
    return start + 1


def _range(file: str) -> tuple[int, int]:
    """This user's range in ``file`` (subuid(5)): first and count."""
    names = (pwd.getpwuid(os.geteuid()).pw_name, str(os.geteuid()))
    rows = Path(file).read_text(encoding="utf-8").splitlines() if Path(file).exists() else []
    for row in rows:
        who, _, rest = row.partition(":")
        first, _, count = rest.partition(":")
        if who in names and first.isdigit() and count.strip().isdigit():
            return int(first), int(count)
    raise SandboxError(
        f"steps that run programs need a range of ids, and {file} has none for {names[0]}",
        hint=f"`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {names[0]}`, or lock as root",
    )
