"""What a run prints while it runs: the logs of its attempts as they grow, from this machine's files, or from the pods
of a target for as long as these run and from its storage once they have ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..kernel.errors import FlyteBuildError, RunError
from ..submit.action import Phase
from ..submit.history import Run as Kept
from ..submit.history import find_logs
from ..submit.journal import ActionRecord
from ..submit.kubernetes.api import ApiError, Cluster
from ..submit.kubernetes.names import label_value
from ..submit.kubernetes.watching import PODS, log_query
from .reaching import target_run
from .runs import kept_run
from .submitting import connected_to
from .targeting import target as target_named

__all__ = ["Piece", "cluster_of", "pod_log", "pod_logs", "tail"]

Piece = tuple[ActionRecord, int, bytes]
"""An action, its attempt, and what that printed since the last piece of it."""

_LOOK = 1.0
_MOST = 64 << 20


def tail(name: str, action: str | None, on: str | None, pause: Callable[[float], None] = time.sleep) -> Iterator[Piece]:
    """Pieces until the run has ended; raises :class:`RunError` as :func:`find_logs` does, once it has ended."""
    printed: dict[tuple[str, int], _Printed] = {}
    cluster = cluster_of(on)
    while True:
        run = kept_run(name) if on is None else target_run(on, name, logs=True)
        for record, attempt, found in _now(run, action, cluster):
            told = printed.setdefault((record.name, attempt), _Printed())
            if new := told.rest(found) if isinstance(found, bytes) else told.more(found):
                yield record, attempt, new
        if not run.running:
            return
        pause(_LOOK)


class _Printed:
    """What was printed of one attempt: of a pod how many bytes, and of several also which lines, because their log is
    in the end one after the other."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._lines: dict[str, Counter[bytes]] = {}

    def more(self, pods: Mapping[str, bytes]) -> bytes:
        """What is new in the logs of the ``pods`` that there are, by their names. Others are gone, and begun anew."""
        if not pods:
            return b""  # or nobody answered
        fresh = b""
        several = len(pods) > 1
        self._lines = {pod: self._lines.get(pod, Counter()) for pod in pods} if several else {}
        for pod, data in pods.items():
            before = self._sizes.get(pod, 0)
            if several:
                self._lines[pod] = Counter(data.splitlines())
            fresh += data[before:]
        self._sizes = {pod: max(len(data), self._sizes.get(pod, 0)) for pod, data in pods.items()}
        return fresh

    def rest(self, log: bytes) -> bytes:
        """What was not printed of the whole ``log``, as far as there is one."""
        if self._lines:
            left = sum(self._lines.values(), Counter[bytes]())
            new = []
            for line in log.splitlines(keepends=True):
                text = line.rstrip(b"\r\n")
                if left[text] > 0:
                    left[text] -= 1
                else:
                    new.append(line)
            fresh = b"".join(new)
        else:
            fresh = log[sum(self._sizes.values()) :]
        self._sizes, self._lines = {"": len(log)}, {}
        return fresh


def cluster_of(on: str | None) -> Cluster | None:
    """The target's cluster, where this machine knows how to reach it: the storage has what has ended."""
    if on is None:
        return None
    try:
        return connected_to(target_named(on))
    except FlyteBuildError:
        return None


def _now(
    run: Kept, action: str | None, cluster: Cluster | None
) -> Iterator[tuple[ActionRecord, int, bytes | Mapping[str, bytes]]]:
    """Of every attempt its log, or those of its pods."""
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
            yield record, record.attempt, pod_logs(cluster, run.name, record)


def pod_log(cluster: Cluster, run: str, record: ActionRecord, **query: str) -> bytes:
    """What the attempt that runs has printed so far, of several pods one after the other."""
    return b"".join(pod_logs(cluster, run, record, **query).values())


def pod_logs(cluster: Cluster, run: str, record: ActionRecord, **query: str) -> dict[str, bytes]:
    """What the pods of the attempt that runs have printed so far, as far as they are there, by their names and in the
    order in which they were made; ``query`` says how much of it."""
    labels = {"run": label_value(run), "action": label_value(record.name), "attempt": str(record.attempt)}
    selector = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())}
    try:
        pods = [pod for page in cluster.pages(PODS, selector) for pod in page.get("items") or ()]
        alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")] or pods[-1:]
        return {str(pod["metadata"]["name"]): _log(cluster, pod, query) for pod in sorted(alive, key=_made)}
    except (ApiError, OSError):
        return {}


def _made(pod: Mapping[str, Any]) -> tuple[str, str]:
    return str(pod["metadata"].get("creationTimestamp") or ""), str(pod["metadata"]["name"])


def _log(cluster: Cluster, pod: Mapping[str, Any], query: Mapping[str, str]) -> bytes:
    path = f"{cluster.path(PODS, pod['metadata']['name'])}/log"
    whole = {**log_query(pod), "limitBytes": str(_MOST), **query}
    try:
        return b"".join(line + b"\n" for line in cluster.lines(path, whole, 30.0))
    except (ApiError, OSError):
        return b""  # its container has not begun
