"""All apps of a run here: its own, and those of tasks that it calls by name, which were deployed with them.

What was deployed together shares its code, and so its apps: they find each other and nobody else's, so apps of one name
in the run and in a task that it calls, or in two versions of that, are served beside each other, and each task finds
its own. They begin when the first task that wants them does, and end with the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from ..kernel.cgroups import Cgroups
from ..kernel.values import dataclass, field, replace
from .action import ImageRoot, LaunchRequest
from .apps import Apps
from .deployed import DeployedTask
from .groups import Groups
from .sandbox.entrance import Entrance
from .served import Ground, ServedApp
from .storage import BUNDLES, RunFolder

__all__ = ["RunApps", "apps_of_run"]

# So much of the code's digest tells folders and logs of apps apart.
_MARK = 8


@dataclass(frozen=True, slots=True)
class RunApps:
    """``own`` are those of the run's own code, ``ground`` what they stand on; ``called`` those of others, by the URI of
    their code."""

    own: Apps = field(default_factory=Apps)
    ground: Ground | None = None
    called: dict[str, Apps] = field(default_factory=dict)

    def add(self, task: DeployedTask, code: str) -> None:
        """``task``, whose code is at ``code``, is called by the run, so its apps are served to it. The same task may
        be added again. Raises OSError for apps that are none."""
        if not task.apps or self.ground is None:
            return
        try:
            apps = [ServedApp.from_json(told) for told in task.apps]
        except (LookupError, TypeError, ValueError) as e:
            raise OSError(f"expected the apps of a deployed task, found {type(e).__name__}: {e}") from None
        if code == f"{BUNDLES}/{self.ground.bundle.name}":
            self.own.add(apps)
            return
        if code not in self.called:
            mark = f"-{task.code.removeprefix('sha256:')[:_MARK]}"
            bundle = self.ground.bundle.with_name(code.rpartition("/")[2])
            scratch = self.ground.scratch.with_name(f"{self.ground.scratch.name}{mark}")
            self.called[code] = Apps((), replace(self.ground, bundle=bundle, scratch=scratch, mark=mark))
        self.called[code].add(apps)

    def of(self, request: LaunchRequest) -> Apps:
        """Those that its task finds."""
        return self.called.get(request.code, self.own)

    async def close(self) -> None:
        """End them all."""
        await asyncio.gather(*(apps.close() for apps in (self.own, *self.called.values())))


def apps_of_run(
    apps: Sequence[ServedApp],
    engine: Entrance,
    folder: RunFolder,
    images: Callable[[str], ImageRoot],
    bundle: Path,
    cgroups: Cgroups,
    environment: Mapping[str, str],
    unfiltered: Collection[str],
    say: Callable[[str], object],
) -> RunApps:
    """``apps`` for the time of the run in ``folder``; its code ``bundle`` lies with those of tasks that it calls."""
    groups = Groups(cgroups, folder.name, say)
    ground = Ground(
        engine, engine.network, engine.nameserver, images, groups.of, environment, bundle, folder.scratch / "apps",
        folder.workers, lambda name: name not in unfiltered, say,
    )  # fmt: skip
    return RunApps(Apps(apps, ground), ground)
