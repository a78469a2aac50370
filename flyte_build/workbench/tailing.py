"""What a run prints while it runs: the logs of its attempts as they grow, from this machine's files, or from the pods
of a target for as long as these run and from its storage once they have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..kernel.errors import FlyteBuildError, RunError
from ..submit.action import Phase
from ..submit.history import Run as Kept
from ..submit.history import find_logs
from ..submit.journal import ActionRecord
from ..submit.kubernetes.api import ApiError, Cluster
from ..submit.kubernetes.names import job_name
from ..submit.kubernetes.watching import PODS, log_query
from .reaching import target_run
from .runs import kept_run
from .submitting import connected_to
from .targeting import target as target_named

__all__ = ["Piece", "cluster_of", "pod_log", "tail"]

Piece = tuple[ActionRecord, int, bytes]
"""An action, its attempt, and what that printed since the last piece of it."""

_LOOK = 1.0
_MOST = 64 << 20


def tail(name: str, action: str | None, on: str | None, pause: Callable[[float], None] = time.sleep) -> Iterator[Piece]:
    """Pieces until the run has ended; raises :class:`RunError` as :func:`find_logs` does, once it has ended."""
    printed: dict[tuple[str, int], int] = {}
    cluster = cluster_of(on)
    while True:
        run = kept_run(name) if on is None else target_run(on, name, logs=True)
        for record, attempt, data in _now(run, action, cluster):
            key = record.name, attempt
            if new := data[printed.get(key, 0) :]:
                printed[key] = len(data)
                yield record, attempt, new
        if not run.running:
            return
        pause(_LOOK)


def cluster_of(on: str | None) -> Cluster | None:
    """The target's cluster, where this machine knows how to reach it: the storage has what has ended."""
    if on is None:
        return None
    try:
        return connected_to(target_named(on))
    except FlyteBuildError:
        return None


def _now(run: Kept, action: str | None, cluster: Cluster | None) -> Iterator[Piece]:
    try:
        logs: list[tuple[ActionRecord, Path]] = find_logs(run, action)
    except RunError:
        if not run.running:
            raise
        return  # it may be called yet
    there = set()
    for record, path in logs:
        there.add((record.name, int(path.stem)))
        with open(path, "rb") as f:
            yield record, int(path.stem), f.read(_MOST)
    for record in run.actions if cluster is not None else ():
        wanted = action is None or action in (record.name, record.task, record.task.rpartition(".")[2])
        if record.phase is Phase.RUNNING and wanted and (record.name, record.attempt) not in there:
            assert cluster is not None
            yield record, record.attempt, pod_log(cluster, run.name, record)


def pod_log(cluster: Cluster, run: str, record: ActionRecord, **query: str) -> bytes:
    """What the attempt that runs has printed so far, as far as its pod is there; ``query`` says how much of it."""
    selector = {"labelSelector": f"job-name={job_name(run, record.name, record.attempt)}"}
    try:
        pods = [p for page in cluster.pages(PODS, selector) for p in page.get("items") or ()]
        if not pods:
            return b""
        path = f"{cluster.path(PODS, pods[-1]['metadata']['name'])}/log"
        return b"".join(
            line + b"\n"
            for line in cluster.lines(path, {**log_query(pods[-1]), "limitBytes": str(_MOST), **query}, 30.0)
        )
    except (ApiError, OSError):
        return b""
