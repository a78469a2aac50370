"""Runs as a cluster alone tells of them, for whoever reaches it and not the storage: by the labels of their Jobs, and
how these and their pods look.

The rest is in the storage: who called whom, values, reports, whether a task that ended did so well (its process ends
the same way), and what ended longer ago than Jobs are kept. Only reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ...kernel.values import dataclass
from ..action import ROOT_ACTION
from .api import Cluster
from .pod import COMPONENT, DRIVER, MANAGED_BY
from .sight import Stage, look
from .watching import JOBS, PODS, log_query

__all__ = ["SeenAttempt", "SeenRun", "seen_log", "seen_runs"]

Object = Mapping[str, Any]
_LOG = 64 << 20
_OWNER = "job-name"


@dataclass(frozen=True, slots=True)
class SeenAttempt:
    """One attempt: ``line`` is how it looks, for people. Times are seconds since the epoch; ``job`` is its name."""

    action: str
    task: str
    attempt: int
    stage: Stage
    line: str
    started: float | None
    ended: float | None
    job: str


@dataclass(frozen=True, slots=True)
class SeenRun:
    """A run by its label; ``driven``: its driver's Job goes on."""

    name: str
    started: float
    driven: bool
    attempts: tuple[SeenAttempt, ...]

    @property
    def going(self) -> bool:
        """Whether anything of it goes on."""
        return self.driven or any(a.stage != "ended" for a in self.attempts)

    @property
    def task(self) -> str:
        """The one that it was started with, where an attempt of that is still there."""
        return next((a.task for a in self.attempts if a.action == ROOT_ACTION), "")


def seen_runs(cluster: Cluster, unscheduled: float) -> list[SeenRun]:
    """Every run of which the cluster has a Job, the newest first. Raises :class:`~.api.ApiError`.

    ``unscheduled``: as the target has it, for what is said of those that wait.
    """
    selector = {"labelSelector": f"{MANAGED_BY}=flyte-build"}
    pods: dict[str, list[Object]] = {}
    for pod in _items(cluster, PODS, selector):
        pods.setdefault(_labels(pod).get(_OWNER, ""), []).append(pod)
    drivers: dict[str, Object] = {}
    attempts: dict[str, list[SeenAttempt]] = {}
    began: dict[str, float] = {}
    for job in _items(cluster, JOBS, selector):
        labels = _labels(job)
        run, component = labels.get("run", ""), labels.get(COMPONENT, "")
        if not run or component not in ("", DRIVER) or (not component and "action" not in labels):
            continue
        made = _time(job["metadata"].get("creationTimestamp")) or 0.0
        began[run] = min(made, began.get(run, made))
        attempts.setdefault(run, [])
        if component == DRIVER:
            drivers[run] = job
        else:
            attempts[run].append(_attempt(job, pods.get(job["metadata"]["name"], []), unscheduled))
    found = [
        SeenRun(run, began[run], run in drivers and not _over(drivers[run]), tuple(sorted(of, key=_order)))
        for run, of in attempts.items()
    ]
    return sorted(found, key=lambda run: (run.started, run.name), reverse=True)


def seen_log(cluster: Cluster, attempt: SeenAttempt, **query: str) -> bytes:
    """What its pods printed, as far as the cluster has it; ``query`` is for its API.

    Raises :class:`~.api.ApiError`, OSError.
    """
    pods = sorted(_items(cluster, PODS, {"labelSelector": f"{_OWNER}={attempt.job}"}), key=_created)
    return b"".join(
        cluster.text(
            f"{cluster.path(PODS, pod['metadata']['name'])}/log",
            {**log_query(pod), "limitBytes": str(_LOG), **query},
            30.0,
        )
        for pod in pods
    )


def _items(cluster: Cluster, kind: str, query: Mapping[str, str]) -> Iterable[Object]:
    return (item for page in cluster.pages(kind, query) for item in page.get("items") or ())


def _labels(value: Object) -> Mapping[str, str]:
    return value["metadata"].get("labels") or {}


def _created(value: Object) -> str:
    return str(value["metadata"].get("creationTimestamp") or "")


def _order(attempt: SeenAttempt) -> tuple[float, str, int]:
    return attempt.started or float("inf"), attempt.action, attempt.attempt


def _over(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c.get("type") in ("Complete", "Failed") and c.get("status") == "True" for c in conditions)


def _attempt(job: Object, pods: list[Object], unscheduled: float) -> SeenAttempt:
    labels, sight = _labels(job), look(job, pods, unscheduled=unscheduled)
    states = [
        state
        for pod in pods
        for container in (pod.get("status") or {}).get("containerStatuses") or ()
        for state in (
            (container.get("state") or {}).get("running") or (container.get("state") or {}).get("terminated"),
        )
        if state
    ]
    starts = [t for state in states if (t := _time(state.get("startedAt"))) is not None]
    ends = [t for state in states if (t := _time(state.get("finishedAt"))) is not None]
    ended = sight.stage == "ended"
    # That its process ended well says nothing of its task.
    line = "ended" if ended and sight.outcome is not None and not sight.outcome.exit_code else sight.line
    attempt = labels.get("attempt", "")
    return SeenAttempt(
        labels["action"],
        labels.get("task-name", ""),
        int(attempt) if attempt.isdigit() else 0,
        sight.stage,
        line,
        min(starts, default=None),
        max(ends, default=None) if ended else None,
        str(job["metadata"]["name"]),
    )


def _time(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except ValueError:
        return None
