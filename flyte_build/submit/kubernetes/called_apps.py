"""All apps of a run on a cluster: its own, and those of tasks that it calls by name, which were deployed with them.

What was deployed together shares its code, and so its apps: they are a series of their own, so apps of one name in the
run and in a task that it calls, or in two versions of that, are served beside each other, and each task finds its own.
They begin when the first task that wants them does, and end with the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ...kernel.values import dataclass, field, replace
from ..action import LaunchRequest, Outcome
from ..deployed import DeployedTask
from .cluster_apps import ClusterApp, ClusterApps

__all__ = ["RunApps"]


@dataclass(frozen=True, slots=True)
class RunApps:
    """``own`` are those of the run's own code; ``called`` those of others, by the URI of their code."""

    own: ClusterApps
    called: dict[str, ClusterApps] = field(default_factory=dict)

    def add(self, task: DeployedTask, code: str) -> None:
        """``task``, whose code is at ``code``, is called by the run, so its apps are served to it. The same task may
        be added again."""
        if not task.apps:
            return
        if code == self.own.code:
            self.own.add(ClusterApp.from_json(told) for told in task.apps)
            return
        if code not in self.called:
            series = f"{self.own.run} {task.code}"
            self.called[code] = replace(self.own, apps=[], code=code, series=series)
        self.called[code].add(ClusterApp.from_json(told) for told in task.apps)

    def _whose(self, request: LaunchRequest) -> ClusterApps:
        return self.called.get(request.code, self.own)

    async def ready(self, request: LaunchRequest) -> Outcome | None:
        """Every app that its task wants answers; else its outcome."""
        return await self._whose(request).ready()

    def variables(self, request: LaunchRequest) -> Mapping[str, str]:
        """What its task is told of them."""
        return self._whose(request).variables

    async def close(self) -> None:
        """End them all."""
        await asyncio.gather(*(apps.close() for apps in (self.own, *self.called.values())))
