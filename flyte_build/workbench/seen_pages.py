"""Pages of runs on a target whose storage this machine does not reach: what its cluster tells, with why the rest is
missing. Only reads; who asks again within a moment gets the same answer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..pages import Pages
from ..submit.action import Phase
from ..submit.history import Run
from ..submit.journal import ActionRecord, Attempt
from ..submit.kubernetes.api import ApiError, Cluster
from ..submit.kubernetes.at_sight import SeenAttempt, SeenRun, seen_log
from .at_sight import Unreachable, run_at_sight, runs_at_sight
from .submitting import connected_to
from .targeting import target as target_named

__all__ = ["Sight", "serving_at_sight"]

_FRESH = 2.0
_TAIL_LINES, _TAIL = "2000", 64 << 10
# No folder has its files: whatever is looked for below it is not there.
_NOWHERE = Path(os.devnull)


class Sight:
    """The runs of the target ``on``, whose storage did not answer for the reason ``why``.

    Every method raises :class:`RunError` where the cluster cannot be asked either. Any thread may ask.
    """

    def __init__(self, on: str, why: Unreachable, clock: Callable[[], float] = time.monotonic) -> None:
        self._on, self._why, self._clock = on, why, clock
        self._lock = threading.Lock()
        self._last: tuple[float, list[SeenRun]] | None = None
        self._cluster: Cluster | None = None
        self.told = f"Only what the cluster of {on} tells: its storage is not reached ({why.message})"

    def runs(self) -> list[Run]:
        """All of which the cluster has anything, the newest first."""
        return [self._run(seen) for seen in self._seen()]

    def find(self, name: str | None) -> Run:
        """The run whose name begins with ``name`` (``None``: the newest); as :func:`run_at_sight` raises."""
        return self._run(run_at_sight(self._on, name, self._why, self._seen()))

    def details(self, run: Run, record: ActionRecord) -> Mapping[str, Any]:
        """What :func:`~flyte_build.pages.details_of` gives: the logs of pods that are there."""
        seen = next((one for one in self._seen() if one.name == run.name), None)
        attempts = [a for a in seen.attempts if a.action == record.name] if seen is not None else []
        found = [(a.attempt, self._log(a)) for a in attempts]
        logs = [
            {"number": number, "text": data[-_TAIL:].decode("utf-8", "replace"), "size": len(data)}
            for number, data in found
            if data
        ]
        looks = [a.line for a in attempts[-1:] if a.line != a.stage]
        return {"logs": logs, "later": "\n".join([*looks, "Values and reports are in the storage"])}

    def _seen(self) -> list[SeenRun]:
        with self._lock:
            if self._last is None or self._clock() - self._last[0] >= _FRESH:
                self._last = self._clock(), runs_at_sight(self._on, self._why)
            return self._last[1]

    def _log(self, attempt: SeenAttempt) -> bytes:
        try:
            if self._cluster is None:
                self._cluster = connected_to(target_named(self._on))
            return seen_log(self._cluster, attempt, tailLines=_TAIL_LINES)
        except (ApiError, OSError):
            return b""

    def _run(self, seen: SeenRun) -> Run:
        """In the form that pages are made of. Who called whom is not known."""
        of: dict[str, list[SeenAttempt]] = {}
        for attempt in seen.attempts:
            of.setdefault(attempt.action, []).append(attempt)
        ends = [a.ended for a in seen.attempts if a.ended is not None]
        return Run(
            seen.name,
            _NOWHERE / seen.name,
            {"task": seen.task, "started": seen.started},
            tuple(_record(sorted(several, key=lambda a: a.attempt), seen.started) for several in of.values()),
            seen.going,
            Phase.RUNNING if seen.going else None,
            None if seen.going else max(ends, default=None),
            told=self.told,
        )


def _record(attempts: list[SeenAttempt], began: float) -> ActionRecord:
    *before, last = attempts
    over = last.stage == "ended"
    return ActionRecord(
        last.action,
        task=last.task,
        environment=last.task.rpartition(".")[0],
        phase=Phase.RUNNING if over or last.stage == "running" else Phase.QUEUED,
        attempt=last.attempt,
        queued=min((a.started for a in attempts if a.started is not None), default=began),
        started=last.started,
        ended=(last.ended or last.started or began) if over else None,
        attempts=tuple(
            Attempt(a.attempt, a.started, a.ended or a.started, Phase.FAILED) for a in before if a.started is not None
        ),
    )


def serving_at_sight(on: str, why: Unreachable, port: int = 0) -> Pages:
    """As :func:`~flyte_build.workbench.run_pages.serving`, of what the cluster of ``on`` tells."""
    sight = Sight(on, why)
    return Pages(
        sight.runs, sight.find, port=port, title=f"Runs on {on}", seconds=5, details=sight.details, told=sight.told
    )
