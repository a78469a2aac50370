"""What is known of a run's Jobs, pods and events, kept up to date: a list, then a watch, and again when that breaks.

One thread a kind. A watch ends whenever it likes: by time, by a cut line, by 410 Gone; each is the beginning of the
next, with jitter, and what a list no longer has was deleted. Objects are kept small and only for as long as somebody
asks for their attempt, so that memory is a matter of what runs and not of what ran.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ...kernel.errors import FlyteBuildError
from .api import JITTER, ApiError, Cluster
from .known import Attempt, Held, slim
from .kueue import job_of
from .names import MAIN

__all__ = ["JOBS", "PODS", "Watcher", "log_query"]

JOBS, PODS, EVENTS = "batch/v1/jobs", "v1/pods", "v1/events"
# Events that tell nothing which the objects do not: those of a pod that does well.
_USUAL = ("Scheduled", "Created", "Started", "SuccessfulCreate", "Completed")
# The beginning of a watch's line as Go writes it: fields in the order of their types.
_HEAD = re.compile(
    rb'\{"type":"(ADDED|MODIFIED|DELETED)","object":\{"kind":"(?:Job|Pod)","apiVersion":"[^"]+","metadata":'
    rb'\{"name":"([^"\\]+)",(?:"generateName":"[^"\\]+",)?"namespace":"[^"\\]+",(?:"uid":"[^"\\]+",)?'
    rb'"resourceVersion":"([^"\\]+)"'
)
_OF_JOB = re.compile(rb'"job-name":"([^"\\]+)"')
WATCH_SECONDS = 300
_SILENCE = 330.0
_REST = 0.02
_OWNED = "job-name"
# Beside the words of a watch: it was asked for, and what a watch told meanwhile may be newer.
_ANSWERED = "ANSWERED"
Object = Mapping[str, Any]


def log_query(pod: Object) -> dict[str, str]:
    """Whose log of a pod is its task's: without a word the API has it only of pods of one container."""
    container = (pod["metadata"].get("annotations") or {}).get(MAIN)
    return {"container": str(container)} if container else {}


def _read(line: bytes) -> Any:
    try:
        return json.loads(slim(line))
    except ValueError:
        return json.loads(line)


class Watcher:
    """Everything of the objects with ``selector`` (a label's), for the attempts that were asked for.

    ``changed(job)`` is called from the watching threads when something of an attempt is new; ``lost(message)`` when a
    watch cannot be had for long (it is tried on).
    """

    def __init__(
        self,
        cluster: Cluster,
        selector: str,
        changed: Callable[[str], None],
        lost: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._cluster = cluster
        self._selector = selector
        self._changed = changed
        self._lost = lost
        self._lock = threading.Lock()
        self._attempts: dict[str, Held] = {}
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        for kind in (JOBS, PODS, EVENTS):
            thread = threading.Thread(target=self._follow, args=(kind,), name=f"watch {kind}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """No call of ``changed`` begins after it. Threads end by themselves: one may be waiting for a line."""
        with self._lock:
            self._closed.set()

    def ask(self, job: str) -> None:
        """From here on what is known of ``job`` is kept."""
        with self._lock:
            self._attempts.setdefault(job, Held())

    def forget(self, job: str) -> None:
        with self._lock:
            self._attempts.pop(job, None)

    def known(self, job: str) -> Attempt:
        """A copy of what is known of ``job`` now."""
        with self._lock:
            held = self._attempts.get(job)
            return held.known() if held is not None else Attempt()

    def note(self, job: Object) -> None:
        """What creating a Job answered: it is there before any watch has told. What one told is newer."""
        self._take(JOBS, _ANSWERED, job)

    def fetch(self, job: str) -> None:
        """Ask for a Job and its pods: what was there before somebody asked for it was not kept. Raises ApiError."""
        found = self._cluster.get(JOBS, job)
        if found is not None:
            self._take(JOBS, _ANSWERED, found)
        for page in self._cluster.pages(PODS, {"labelSelector": f"{_OWNED}={job}"}):
            for pod in page.get("items") or ():
                self._take(PODS, _ANSWERED, pod)

    # -- one kind ---------------------------------------------------------------------------------------

    def _follow(self, kind: str) -> None:
        version, failures = "", 0
        while not self._closed.is_set():
            try:
                if not version:
                    version = self._list(kind)
                version = self._watch(kind, version)
                failures = 0
            except ApiError as e:
                version = "" if e.status in (410, 400) else version
                failures = self._failed(kind, failures, e.message)
            except FlyteBuildError as e:
                failures = self._failed(kind, failures, e.message)
            except OSError as e:
                failures = self._failed(kind, failures, str(e))

    def _failed(self, kind: str, failures: int, message: str) -> int:
        if failures == 3:
            self._lost(f"{kind} cannot be watched, and are tried again: {message}")
        self._closed.wait(min(0.1 * 2.0**failures, 15.0) * (0.5 + JITTER.random()))
        return failures + 1

    def _query(self, kind: str) -> dict[str, str]:
        # Events have no labels of what they are about.
        if kind == EVENTS:
            return {"fieldSelector": ",".join(f"reason!={reason}" for reason in _USUAL)}
        return {"labelSelector": self._selector}

    def _list(self, kind: str) -> str:
        version, there = "", set()
        before = self._alive()
        for page in self._cluster.pages(kind, self._query(kind)):
            version = str((page.get("metadata") or {}).get("resourceVersion") or "")
            for item in page.get("items") or ():
                there.add(str(item["metadata"]["name"]))
                self._take(kind, "ADDED", item)
        self._only(kind, before - there)
        return version

    def _watch(self, kind: str, version: str) -> str:
        """Take what comes, and give where to go on; raises as ``lines`` does, and 410 as an :class:`ApiError`."""
        query = {
            **self._query(kind), "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }  # fmt: skip
        rested = 0.0
        for line in self._cluster.lines(self._cluster.path(kind), query, _SILENCE):
            if (now := time.monotonic()) - rested > _REST:
                # The next lines are read at once: being woken up costs more than most of them do.
                time.sleep(_REST)
                rested = now + _REST
            if self._closed.is_set():
                return version
            if (passed := self._passed(kind, line)) is not None:
                version = passed
                continue
            try:
                told = _read(line)
                what, value = told["type"], told["object"]
            except (ValueError, KeyError, TypeError):
                return version  # cut in its middle: go on from what was whole
            if what == "ERROR":
                raise ApiError(int(value.get("code") or 0), str(value.get("reason")), str(value.get("message")))
            version = str((value.get("metadata") or {}).get("resourceVersion") or version)
            if what != "BOOKMARK":
                self._take(kind, what, value)
        return version

    def _passed(self, kind: str, line: bytes) -> str | None:
        """The version of a line that says nothing new, which most do: of what nobody asks for, and of a Job that goes
        its way. It is known by how API servers write; any other is read."""
        head = _HEAD.match(line)
        if head is None or not line.endswith(b"}}"):
            return None
        what, name, version = (part.decode() for part in head.groups())
        if kind != JOBS:
            owner = _OF_JOB.search(line)
            if owner is None:
                return None
            name = owner[1].decode()
        with self._lock:
            attempt = self._attempts.get(name)
            if attempt is None:
                return version
            calm = attempt.calm
        dull = what != "DELETED" and b'"conditions"' not in line and b'"suspend":true' not in line
        return version if kind == JOBS and calm and dull else None

    # -- what it says -------------------------------------------------------------------------------------

    def _take(self, kind: str, what: str, value: Object) -> None:
        with self._lock:
            job = self._owner(kind, value)
            attempt = self._attempts.get(job)
            if attempt is None or self._closed.is_set():
                return
            name = str(value["metadata"]["name"])
            if what == _ANSWERED and (attempt.seen if kind == JOBS else name in attempt.pods):
                return
            if kind == JOBS:
                attempt.take_job(None if what == "DELETED" else value)
            elif kind == PODS:
                attempt.take_pod(name, value, deleted=what == "DELETED")
            elif what != "DELETED":
                attempt.take_event(value)
        self._changed(job)

    def _owner(self, kind: str, value: Object) -> str:
        if kind == JOBS:
            return str(value["metadata"]["name"])
        if kind == PODS:
            return str((value["metadata"].get("labels") or {}).get(_OWNED) or "")
        about = value.get("involvedObject") or {}
        name = str(about.get("name") or "")
        if about.get("kind") == "Workload":
            return job_of(name)
        # A pod is called as its Job (its number, in an indexed one) and five characters; what is said of it may come
        # before itself.
        if about.get("kind") == "Pod":
            name = name.rpartition("-")[0]
            return name if name in self._attempts else name.rpartition("-")[0]
        return name

    def _alive(self) -> set[str]:
        """The Jobs that are known to be there."""
        with self._lock:
            return {name for name, a in self._attempts.items() if a.seen and a.job is not None}

    def _only(self, kind: str, missing: set[str]) -> None:
        """What was known before a whole list was asked for, and is not in it, is gone, whether or not a watch told. A
        Job that was made meanwhile need not be in it."""
        if kind != JOBS:
            return
        with self._lock:
            gone = [name for name in missing if name in self._attempts]
            for name in gone:
                self._attempts[name].take_job(None)
        for name in gone:
            self._changed(name)
