"""Control groups with the limits of attempts and of what runs beside them; what cannot be kept here is said."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..kernel.cgroups import Cgroups, Group
from ..kernel.values import dataclass
from .action import Outcome, Resources

__all__ = ["MOST_PIDS", "Groups", "stopped_by"]

# Processes and threads of an attempt: what OpenShift gives a pod, or more on a large machine.
MOST_PIDS = max(4096, 256 * (os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of the run ``run``; ``say`` hears which limits this user cannot set."""

    cgroups: Cgroups
    run: str
    say: Callable[[str], object]

    def of(self, name: str, asked: Resources) -> Group | None:
        """A fresh group called ``name``; ``None`` where this machine gives none."""
        for what, wanted, there in (
            ("memory", asked.memory, self.cgroups.memory),
            ("cpu", asked.cpu, self.cgroups.cpu),
        ):
            if wanted is not None and there is None:
                self.say(f"{what} limits are not enforced here: this user may make no control group for {what}")
        try:
            name = f"{self.run}-{name}"
            group = self.cgroups.create(name, memory=asked.memory, cpu=asked.cpu, pids=MOST_PIDS)
            return group if group.folders else None
        except OSError as e:
            self.say(f"memory, cpu and process limits are not enforced here: {e}")
            return None


def stopped_by(group: Group | None, code: int, asked: Resources) -> Outcome | None:
    """The outcome of an attempt that ended with ``code`` for a limit of its group; ``None`` where it met none."""
    if group is not None and group.oom_kills():
        return Outcome(code, "oom", f"killed at its memory limit of {(asked.memory or 0) / 2**20:.0f} MiB")
    if group is not None and group.refused_forks():
        return Outcome(code, "pids", f"it may have {MOST_PIDS:,} processes and threads at once, and wanted more")
    return None
