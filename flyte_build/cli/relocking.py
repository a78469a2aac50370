"""``build`` where only locks changed: neither flyte nor the user's file is imported, and the output is the same."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..kernel import tracing
from .noop import question
from .options import introduce

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..planning.plan import Plan
    from ..planning.recording import Recording
    from ..workbench import Images, Workbench
    from ..workbench.following import Follower
    from ..workbench.relocked import Seen

__all__ = ["Relocking"]


class _NothingToDo(Exception):
    """All is there: what is said then is kept by whoever watches the project being read."""


class _Planned:
    """Passes on to ``follower``, and calls ``planned`` first."""

    def __init__(self, follower: Follower, planned: Callable[[Plan], None]) -> None:
        self._follower, self._planned = follower, planned

    def planned(self, plan: Plan) -> None:
        self._planned(plan)
        self._follower.planned(plan)

    def making(self) -> None:
        self._follower.making()


class Relocking:
    """One command line's project, kept by one process and taken up by the next. ``platform`` is the one it names,
    ``check`` whether it has calls checked; ``quiet``, and ``follower`` shows its plan."""

    def __init__(self, platform: str | None, check: bool, quiet: bool, follower: Follower) -> None:
        self._platform, self._check, self._quiet, self._follower = platform, check, quiet, follower
        self._key = question(["relocked", *sys.argv[1:]])
        self._bench: Workbench | None = None
        self._meant: list[str] = []
        self._seen: Seen | None = None

    def made(self, verb: Callable[[Workbench, Follower], Images]) -> Images | None:
        """What ``verb`` makes of the project that was kept; ``None`` where the file has to be imported."""
        # Who wants to see what is done wants to see all of it.
        if tracing.active():
            return None
        from ..workbench.relocked import reopened
        from .progress import make_reporter

        bench = reopened(self._key, make_reporter(self._quiet))
        if bench is None:
            return None

        def planned(plan: Plan) -> None:
            if plan.cached:
                raise _NothingToDo
            introduce(bench)

        try:
            return verb(bench, _Planned(self._follower, planned))
        except _NothingToDo:
            return None

    def following(self, bench: Workbench, follower: Follower) -> Follower:
        """``follower`` of a build from the file itself; what its locks say is looked at when they are planned."""

        def planned(plan: Plan) -> None:
            from ..workbench.relocked import seen

            self._bench, self._meant = bench, list(dict.fromkeys(image.environment for image in plan.images))
            self._seen = seen(bench, self._meant, self._platform)

        return _Planned(follower, planned)

    def keep(self, record: Recording) -> None:
        """Keep the project for the next process with this command line, if that is sure to be the same one."""
        if self._bench is not None and self._seen is not None:
            from ..workbench.relocked import keep

            keep(record, self._key, self._bench, self._meant, self._seen, self._check)
