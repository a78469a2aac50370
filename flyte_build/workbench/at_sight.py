"""Runs of a target whose storage this machine does not reach, as the cluster alone tells of them."""

from __future__ import annotations

from ..kernel.errors import FlyteBuildError, RunError
from ..submit.kubernetes.api import ApiError, Cluster
from ..submit.kubernetes.at_sight import SeenAttempt, SeenRun, seen_log, seen_runs
from ..submit.kubernetes.mirror import Unreachable
from .submitting import connected_to
from .targeting import target as target_named

__all__ = ["SeenAttempt", "SeenRun", "Unreachable", "logs_at_sight", "run_at_sight", "runs_at_sight"]


def runs_at_sight(on: str, why: Unreachable) -> list[SeenRun]:
    """The runs of which the cluster of ``on`` has anything, the newest first. Where it cannot be asked either, raises
    :class:`RunError` with its words and those of ``why``, the storage's error."""
    target = target_named(on)
    try:
        return seen_runs(connected_to(target), target.unscheduled)
    except FlyteBuildError as e:
        raise RunError(f"{why.message}\nnor is the cluster asked: {e.message}", hint=e.hint or why.hint) from None


def run_at_sight(on: str, name: str | None, why: Unreachable, seen: list[SeenRun] | None = None) -> SeenRun:
    """The one whose name begins with ``name`` (``None``: the newest); as above, and :class:`RunError` where that is not
    exactly one. ``seen``: those that there are, where somebody knows."""
    runs = runs_at_sight(on, why) if seen is None else seen
    if name is None:
        if not runs:
            raise RunError(
                f"the cluster of {on} has no runs, and its storage is not reached: {why.message}", hint=why.hint
            )
        return runs[0]
    found = [run for run in runs if run.name == name] or [run for run in runs if run.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RunError(f"`{name}` is the beginning of several runs: {', '.join(run.name for run in found)}")
    raise RunError(
        f"the cluster has nothing of a run `{name}`, and its storage is not reached: {why.message}", hint=why.hint
    )


def logs_at_sight(on: str, run: SeenRun, action: str | None) -> list[tuple[SeenAttempt, bytes]]:
    """What the pods of the run, or of one action (its id, the beginning of it, or a task's name), have printed.

    Of a pod that prints nothing yet, or is gone, it is empty. Raises :class:`RunError` for an action that it has not.
    """
    chosen = [
        a for a in run.attempts if action is None or a.action.startswith(action) or a.task.rpartition(".")[2] == action
        or a.task == action
    ]  # fmt: skip
    if action is not None and not chosen:
        have = ", ".join(f"{a.action} ({a.task})" for a in run.attempts) or "none"
        raise RunError(f"the cluster has nothing of an action `{action}` of run {run.name}", hint=f"it has {have}")
    cluster = connected_to(target_named(on))
    return [(attempt, _log(cluster, attempt)) for attempt in chosen]


def _log(cluster: Cluster, attempt: SeenAttempt) -> bytes:
    try:
        return seen_log(cluster, attempt)
    except (ApiError, OSError):
        return b""
