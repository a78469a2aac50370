"""What can go wrong with an attempt on the real cluster, row by row: how it is seen, whose fault it is, what follows.

``docs/kubernetes.md`` names these tests in its table. What only a task's own program could do (fork and be killed, fill
an emptyDir) is in ``tests/submit/kubernetes/test_sight.py``, as a real cluster was seen to tell it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from flyte_build.submit.action import Outcome, SecretRef
from flyte_build.submit.kubernetes.watching import JOBS, PODS
from flyte_build.submit.verdict import Verdict, judge
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
    asks: dict[str, str] = field(default_factory=dict)
    unscheduled: float = 120.0


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
    "no-account": Row("PodNotCreated", "system", '"nobodys" not found', within=25.0, asks={"account": "nobodys"}),
    "more-gpus-than-any-node": Row("Unschedulable", "system", "Insufficient nvidia.com/gpu", within=8.0,
                                   asks={"gpu": "8"}, unscheduled=3.0),
    "more-memory-than-any-node": Row("Unschedulable", "system", "Insufficient memory", within=8.0,
                                     asks={"memory": "9Ti"}, unscheduled=3.0),
    "out-of-memory": Row("OOMKilled", "user", "killed for memory", again=True, do=("memory=256", "sleep=60s"),
                         asks={"memory": "48Mi"}),
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


@pytest.mark.parametrize("name", ROWS)
def test_a_fault_has_its_verdict(make: Callable[..., Bench], name: str) -> None:
    row = ROWS[name]
    bench = make(unscheduled=row.unscheduled)
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

    threading.Thread(target=first_word, daemon=True).start()
    outcome = bench.launch(*row.do, task_spec=spec(**row.asks, command=how.pop("command", "")), **how)
    ended = time.monotonic()
    holds(verdict(outcome, how.get("timeout")), row)
    bench.wait(lambda: not any(p["status"]["phase"] in ("Pending", "Running") for p in bench.pods()))
    if row.within is not None:
        assert ended - begun[0] <= row.within


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
    thread = threading.Thread(target=lambda: done.append(first.launch("sleep=15s", task_spec=spec(gpu="4"))))
    thread.start()
    first.until("running on ")
    assert second.launch("print=late", task_spec=spec(gpu="1")) == Outcome(0)
    thread.join()
    assert done == [Outcome(0)]
    assert any("Insufficient nvidia.com/gpu" in line for line in second.lines)


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
