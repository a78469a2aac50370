"""What is known of a run's Jobs: whole and in time, whatever breaks on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flyte_build.submit.kubernetes.known import Attempt, trimmed
from flyte_build.submit.kubernetes.watching import EVENTS, JOBS, PODS, Watcher
from tests.support.apiserver import ApiServer, Bad

LABELS = {"run": "r"}


class Bench:
    """A watcher of run ``r``, and waiting until it knows something."""

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        self.news = threading.Condition()
        self.lost: list[str] = []
        self.watcher = Watcher(api.cluster(sleep=lambda _: None), "run=r", self._changed, self.lost.append)

    def _changed(self, job: str) -> None:
        with self.news:
            self.news.notify_all()

    def until(self, job: str, true: Callable[[Attempt], Any]) -> Attempt:
        with self.news:
            assert self.news.wait_for(lambda: true(self.watcher.known(job)), 60)
        return self.watcher.known(job)

    def watching(self) -> None:
        """Wait until Jobs are watched, and not only listed."""
        with self.api.changed:
            assert self.api.changed.wait_for(lambda: any("watch=1" in a and "/jobs" in a for a in self.api.asked), 60)

    def job(self, name: str, **status: Any) -> None:
        self.api.put(JOBS, {"metadata": {"name": name, "labels": LABELS}, "status": status})


@pytest.fixture
def bench(api: ApiServer) -> Iterator[Bench]:
    made = Bench(api)
    yield made
    made.watcher.close()


def test_what_was_there_before_and_what_comes_is_known(bench: Bench) -> None:
    bench.job("a", active=1)
    bench.watcher.ask("a")
    bench.watcher.start()
    bench.until("a", lambda known: known.job)
    bench.api.pod("a", "Pending")
    bench.until("a", lambda known: known.pods)
    bench.api.pod("a", "Running")
    found = bench.until("a", lambda known: [p["status"]["phase"] for p in known.pods.values()] == ["Running"])
    assert found.job is not None
    assert found.job["status"] == {"active": 1}


def test_events_of_job_and_pod_are_of_the_attempt_even_before_the_pod(bench: Bench) -> None:
    bench.watcher.ask("a")
    bench.watcher.start()
    bench.job("a")
    bench.api.event("a-abcde", "Pod", "FailedScheduling", "0/1 nodes")
    bench.api.event("a", "Job", "FailedCreate")
    bench.api.event("b-abcde", "Pod", "Pulling")
    found = bench.until("a", lambda known: len(known.events) == 2)
    assert [e["reason"] for e in found.events] == ["FailedScheduling", "FailedCreate"]


def test_what_was_there_before_anybody_asked_is_fetched(bench: Bench) -> None:
    bench.job("a", active=1)
    bench.api.pod("a", "Succeeded")
    bench.watcher.start()
    bench.watching()
    bench.watcher.ask("a")
    assert bench.watcher.known("a") == Attempt()
    bench.watcher.fetch("a")
    found = bench.watcher.known("a")
    assert found.job is not None
    assert [p["status"]["phase"] for p in found.pods.values()] == ["Succeeded"]
    bench.watcher.ask("b")
    bench.watcher.fetch("b")
    assert bench.watcher.known("b") == Attempt()


def test_only_what_is_asked_for_is_kept_and_not_for_longer(bench: Bench) -> None:
    bench.watcher.ask("a")
    bench.watcher.start()
    for name in ("a", "b"):
        bench.job(name)
        bench.api.pod(name)
    bench.until("a", lambda known: known.pods)
    assert bench.watcher.known("b") == Attempt()
    bench.watcher.forget("a")
    assert bench.watcher._attempts == {}


def test_a_deleted_job_is_gone_and_its_pods_last_word_is_kept(bench: Bench) -> None:
    bench.watcher.ask("a")
    bench.watcher.start()
    bench.job("a")
    bench.api.pod("a", "Failed", reason="Evicted")
    bench.until("a", lambda known: known.pods and known.job)
    bench.api.cluster().delete(JOBS, "a")
    found = bench.until("a", lambda known: known.job is None)
    assert found.seen
    assert [p["status"]["reason"] for p in found.pods.values()] == ["Evicted"]


def test_a_watch_that_is_cut_in_a_line_goes_on_where_it_was(bench: Bench) -> None:
    bench.api.cut_after = 1
    bench.watcher.ask("a")
    bench.watcher.start()
    bench.watching()
    for n in range(6):
        bench.job("a", active=n)
    bench.until("a", lambda known: known.job and known.job["status"]["active"] == 5)
    assert sum("watch=1" in a and "/jobs" in a for a in bench.api.asked) > 3
    assert sum("watch" not in a and "/jobs" in a for a in bench.api.asked) == 1, "no list was needed for it"


def test_what_is_too_old_is_listed_anew_and_what_is_not_there_any_more_is_gone(bench: Bench) -> None:
    bench.watcher.ask("a")
    bench.watcher.ask("b")
    for name in ("a", "b"):
        bench.job(name)
    refused: list[int] = []

    def bad(method: str, kind: str, query: dict[str, str]) -> Bad | None:
        if query.get("watch") and kind == JOBS and len(refused) < 2:
            refused.append(1)
            bench.api.objects[JOBS].pop("b", None)  # nobody is told
            return Bad(410, "Expired", "too old resource version")
        return None

    bench.api.bad = bad
    bench.watcher.start()
    bench.until("b", lambda known: known.seen and known.job is None)
    assert bench.watcher.known("a").job is not None
    assert bench.lost == []


def test_an_error_within_a_watch_is_taken_as_the_answer_that_it_is(bench: Bench) -> None:
    bench.watcher.ask("a")
    bench.job("a")
    plain, told = bench.watcher._cluster.lines, []

    def lines(path: str, query: dict[str, str], seconds: float) -> Iterator[bytes]:
        if path.endswith("/jobs") and not told:
            told.append(path)
            return iter([b'{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}}'])
        return plain(path, query, seconds)

    bench.watcher._cluster.lines = lines  # type: ignore[assignment, method-assign]
    bench.watcher.start()
    bench.watching()
    assert sum("watch" not in a and "/jobs" in a for a in bench.api.asked) == 2, "it was listed anew"
    bench.job("a", active=7)
    bench.until("a", lambda known: known.job["status"].get("active") == 7)


def test_a_server_that_is_away_is_asked_until_it_is_back_and_that_is_said(bench: Bench) -> None:
    away = [True]
    bench.api.bad = lambda method, kind, query: Bad(503, "ServiceUnavailable") if away[0] else None
    bench.watcher.ask("a")
    told = threading.Event()
    bench.watcher._lost = lambda message: (bench.lost.append(message), told.set())
    bench.watcher.start()
    assert told.wait(60)
    assert "cannot be watched, and are tried again: " in bench.lost[0]
    away[0] = False
    bench.job("a")
    bench.until("a", lambda known: known.job)


def test_after_its_end_nothing_is_told(bench: Bench) -> None:
    bench.watcher.ask("a")
    bench.watcher.start()
    bench.job("a")
    bench.until("a", lambda known: known.job)
    bench.watcher.close()
    bench.watcher.note({"metadata": {"name": "a"}, "status": {"active": 9}})
    assert bench.watcher.known("a").job == {"metadata": {"name": "a", "labels": LABELS}, "spec": {}, "status": {}}


def test_what_a_watch_told_is_newer_than_an_answer_that_was_on_its_way(bench: Bench) -> None:
    bench.job("a", active=0)
    bench.api.pod("a", "Pending")
    bench.watcher.ask("a")
    bench.watcher._take(JOBS, "ADDED", {"metadata": {"name": "a"}, "spec": {"suspend": True}})
    (name,) = bench.api.objects[PODS]
    pod = {"metadata": {"name": name, "labels": {"job-name": "a"}}, "status": {"phase": "Running"}}
    bench.watcher._take(PODS, "MODIFIED", pod)
    bench.watcher.note({"metadata": {"name": "a"}, "spec": {}})
    bench.watcher.fetch("a")
    found = bench.watcher.known("a")
    assert found.job is not None
    assert found.job["spec"] == {"suspend": True}
    assert [p["status"]["phase"] for p in found.pods.values()] == ["Running"]
    bench.watcher._take(JOBS, "DELETED", {"metadata": {"name": "a"}})
    bench.watcher.note({"metadata": {"name": "a"}})
    assert bench.watcher.known("a").job is None


def test_a_job_that_is_made_while_all_are_listed_is_not_gone(bench: Bench) -> None:
    """The list is from before it was made, and comes after the answer to that."""

    def made(method: str, kind: str, query: dict[str, str]) -> Bad | None:
        if kind == JOBS and "watch" not in query and not bench.watcher.known("a").seen:
            bench.watcher.note({"metadata": {"name": "a", "labels": LABELS}})
        return None

    bench.watcher.ask("a")
    bench.api.bad = made
    bench.watcher.start()
    bench.watching()
    assert bench.watcher.known("a").job is not None


def test_events_are_few_and_each_once(bench: Bench) -> None:
    bench.watcher.ask("a")
    for n in range(100):
        value = {"metadata": {"name": f"e{n}"}, "involvedObject": {"kind": "Job", "name": "a"}, "reason": "R",
                 "message": str(n // 2)}  # fmt: skip
        bench.watcher._take(EVENTS, "ADDED", value)
    found = bench.watcher.known("a").events
    assert len(found) == 20
    assert [e["message"] for e in found][-2:] == ["48", "49"]


def test_what_is_kept_of_an_object_is_small() -> None:
    pod = {
        "metadata": {"name": "a-b", "managedFields": ["x" * 5000], "annotations": {"k": "v" * 5000}, "uid": "1"},
        "spec": {"nodeName": "n", "containers": [{"env": ["x" * 5000]}]},
        "status": {"phase": "Running", "podIPs": [1]},
    }
    assert trimmed(pod) == {
        "metadata": {"name": "a-b", "uid": "1"}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"},
    }  # fmt: skip
    assert PODS == "v1/pods"
