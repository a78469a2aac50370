"""What can go wrong with an attempt on the real cluster, row by row: how it is seen, whose fault it is, what follows.

``docs/kubernetes.md`` names these tests in its table. Most of their time they wait, for a limit of ours or the
kubelet's, so a few go on at once, those that wait longest first.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from flyte_build.submit.action import Outcome, SecretRef
from flyte_build.submit.kubernetes.watching import JOBS, PODS
from flyte_build.submit.verdict import Verdict, judge
from tests.cluster.api import Api
from tests.cluster.cluster import Cluster
from tests.cluster.submitting import Bench, spec

pytestmark = pytest.mark.integration

DIGEST = "sha256:" + "0" * 64
NO_SECRET = (SecretRef("key", "nobodys", "KEY"),)


@dataclass(frozen=True)
class Row:
    """``code`` of the verdict's error and ``whose`` fault; ``again``: it may be tried again; ``uncounted``: and that is
    no try of the task's. ``message`` is part of what people read, ``within`` the most seconds from the first word (of
    kubelet or scheduler) to the verdict."""

    code: str
    whose: str
    message: str
    again: bool = False
    uncounted: bool = False
    within: float | None = None
    do: tuple[str, ...] = ()
    image: str = ""
    how: dict[str, Any] = field(default_factory=dict)
    asks: dict[str, Any] = field(default_factory=dict)
    unscheduled: float = 120.0


_AT_ONCE = 4
SMALL = {"volumes": [{"name": "small", "emptyDir": {"sizeLimit": "1Mi"}}], "terminationGracePeriodSeconds": 1}


ROWS = {
    "exit-code": Row("ContainerFailed", "system", "exit code 3", again=True, do=("print=before", "exit=3")),
    "no-program": Row("StartError", "user", "no such file", how={"command": "/nowhere"}),
    "image-not-there": Row("ImagePullFailed", "system", "not found", again=True, within=20.0, image=f"@{DIGEST}"),
    "registry-refuses": Row(
        "ImagePullFailed", "system", "connection refused", again=True, within=20.0, image=f"127.0.0.1:9/x@{DIGEST}"
    ),
    "no-image-name": Row("InvalidImageName", "system", "nvalid", within=3.0, image=f"127.0.0.1:1/UPPER/x@{DIGEST}"),
    "secret-variable": Row("CreateContainerConfigError", "user", '"nobodys" not found', within=3.0,
                           how={"secrets": NO_SECRET}),
    "secret-file": Row("FailedMount", "user", '"nobodys" not found', within=65.0,
                       how={"secrets": (SecretRef("key", "nobodys"),)}),
    "no-memory-to-start": Row("FailedCreatePodSandBox", "system", "sandbox", again=True, within=65.0,
                              asks={"memory": "512Ki"}),
    "no-account": Row("PodNotCreated", "system", '"nobodys" not found', within=25.0, asks={"account": "nobodys"}),
    "more-gpus-than-any-node": Row("Unschedulable", "system", "Insufficient nvidia.com/gpu", within=8.0,
                                   asks={"gpu": "8"}, unscheduled=3.0),
    "more-memory-than-any-node": Row("Unschedulable", "system", "Insufficient memory", within=8.0,
                                     asks={"memory": "9Ti"}, unscheduled=3.0),
    "out-of-memory": Row("OOMKilled", "user", "killed for memory", again=True, do=("memory=256", "sleep=60s"),
                         asks={"memory": "48Mi"}),
    "child-out-of-memory": Row("OOMKilled", "user", "killed for memory", again=True, do=("child=memory=256", "exit=0"),
                               asks={"memory": "48Mi"}),
    "volume-is-full": Row("DiskLimitExceeded", "user", "EmptyDir", again=True, do=("fill=/small/it,8", "sleep=120s"),
                          asks={"pod": SMALL, "mounts": [{"name": "small", "mountPath": "/small"}]}),
    "out-of-disk": Row("DiskLimitExceeded", "user", "ephemeral", again=True,
                       do=(*("print=" + "x" * 60_000,) * 4, "sleep=120s"), asks={"disk": "100Ki"}),
    "deadline": Row("MAX_RUNTIME_EXCEEDED", "user", "ran longer than its timeout of 4 s", again=True,
                    do=("sleep=120s",), how={"timeout": 4.0}),
}  # fmt: skip


def verdict(outcome: Outcome, timeout: float | None = None) -> Verdict:
    return judge(outcome, None, outputs=False, wanted=True, timeout=timeout)


def holds(found: Verdict, row: Row) -> None:
    assert found.error is not None
    assert (found.error.code, found.error.kind) == (row.code, row.whose)
    assert row.message in found.error.message
    assert (found.recoverable, found.uncounted) == (row.again, row.uncounted)


# Seconds that they wait, as far as that is known.
LONGEST = (
    "secret-file",
    "no-memory-to-start",
    "volume-is-full",
    "out-of-disk",
    "no-account",
    "image-not-there",
    "registry-refuses",
)


@dataclass(frozen=True)
class Seen:
    """How an attempt ended, how many seconds after the first word of its trouble, and whether nothing of it runs."""

    verdict: Verdict
    after: float
    gone: bool


def play(bench: Bench, row: Row) -> Seen:
    if row.image:
        bench.images["it"] = row.image if "/" in row.image else f"{bench.image.partition('@')[0]}{row.image}"
    how = dict(row.how)
    begun: list[float] = []

    def first_word() -> None:
        """When people could first read of the trouble."""
        hopeful = ("is asked for", "waits for", "starts on", "pulls its image", "running on")
        while not any(not line.startswith(hopeful) for line in bench.lines):
            time.sleep(0.05)
        begun.append(time.monotonic())

    watching = threading.Thread(target=first_word, daemon=True)
    watching.start()
    outcome = bench.launch(*row.do, task_spec=spec(**row.asks, command=how.pop("command", "")), **how)
    ended = time.monotonic()
    watching.join()
    bench.wait(lambda: not any(p["status"]["phase"] in ("Pending", "Running") for p in bench.pods()))
    return Seen(verdict(outcome, how.get("timeout")), ended - begun[0], gone=True)


@pytest.fixture(scope="module")
def seen(make_shared: Callable[..., Bench], request: pytest.FixtureRequest) -> Mapping[str, Future[Seen]]:
    """What is seen of each row that is asked for."""
    asked = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    names = [name for name in (*LONGEST, *(n for n in ROWS if n not in LONGEST)) if name in asked]
    found = {name: Future[Seen]() for name in names}
    left: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in names:
        left.put(name)

    def go() -> None:
        while not left.empty():
            try:
                name = left.get_nowait()
            except queue.Empty:
                return
            try:
                found[name].set_result(play(make_shared(unscheduled=ROWS[name].unscheduled), ROWS[name]))
            except BaseException as e:
                found[name].set_exception(e)

    for _ in range(_AT_ONCE):
        threading.Thread(target=go, daemon=True).start()
    return found


@pytest.mark.parametrize("name", ROWS)
def test_a_fault_has_its_verdict(seen: Mapping[str, Future[Seen]], name: str) -> None:
    found, row = seen[name].result(300), ROWS[name]
    holds(found.verdict, row)
    assert found.gone
    if row.within is not None:
        assert found.after <= row.within


def test_a_node_that_is_lost_is_an_interruption(make: Callable[..., Bench], cluster: Cluster, api: Api) -> None:
    """Its kubelet says nothing any more, and its taint, which takes controllers 46 s, is put there by the test."""
    bench = make()
    bears = [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
              "tolerationSeconds": 0}]  # fmt: skip
    kubelet = cluster.pids()["kubelet"]

    def taint(*taints: dict[str, str]) -> None:
        value = {"spec": {"taints": list(taints)}}
        api.ask("PATCH", "/api/v1/nodes/node", value, "application/merge-patch+json")

    def lose() -> None:
        bench.until("running on ")
        os.kill(kubelet, signal.SIGSTOP)
        try:
            taint({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"})
            bench.until("interrupted")
        finally:
            taint()
            os.kill(kubelet, signal.SIGCONT)

    whole = spec(pod={"tolerations": bears, "terminationGracePeriodSeconds": 1})
    found = verdict(bench.launch("sleep=120s", task_spec=whole, during=lose))
    holds(found, Row("Interrupted", "system", "interrupted: ", again=True, uncounted=True))
    assert bench.holds_nothing()


def test_an_eviction_is_an_interruption(make: Callable[..., Bench]) -> None:
    bench = make()

    def evict() -> None:
        bench.until("running on ")
        (pod,) = bench.pods()
        name = pod["metadata"]["name"]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        bench.client.request("POST", f"{bench.client.path(PODS, name)}/eviction", body=body)

    found = verdict(bench.launch("sleep=120s", during=evict))
    holds(found, Row("Interrupted", "system", "interrupted: Eviction API", again=True, uncounted=True))
    assert bench.holds_nothing()


def test_a_job_that_somebody_deletes_is_an_interruption(make: Callable[..., Bench]) -> None:
    bench = make()

    def delete() -> None:
        bench.until("running on ")
        bench.client.delete(JOBS, bench.name, grace=0)

    found = verdict(bench.launch("sleep=120s", during=delete))
    holds(found, Row("Interrupted", "system", "", again=True, uncounted=True))
    assert bench.holds_nothing()


def test_gpus_that_are_taken_are_waited_for(make: Callable[..., Bench]) -> None:
    first, second = make(), make()
    done: list[Outcome] = []
    thread = threading.Thread(target=lambda: done.append(first.launch("sleep=15s", task_spec=spec(gpu="2"))))
    thread.start()
    first.until("running on ")
    assert second.launch("print=late", task_spec=spec(gpu="4")) == Outcome(0)
    thread.join()
    assert done == [Outcome(0)]
    (line,) = [line for line in second.lines if "Insufficient nvidia.com/gpu" in line]
    assert line.endswith("; it asks for 4 of nvidia.com/gpu; free: 2 of nvidia.com/gpu on 1 node"), line


def test_a_namespace_that_holds_as_many_jobs_as_it_may(make: Callable[..., Bench]) -> None:
    bench = make()
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    bench.client.create("v1/resourcequotas", quota)

    def counted() -> bool:
        found = bench.client.get("v1/resourcequotas", "q")
        return found is not None and "hard" in (found.get("status") or {})

    bench.wait(counted)

    def lift() -> None:
        bench.until("quota: q, requested: count/jobs.batch=1")
        bench.client.delete("v1/resourcequotas", "q")

    assert bench.launch("print=late", during=lift) == Outcome(0)
