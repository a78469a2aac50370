"""Attempts on the real cluster: the table of what can go wrong, row by row, as our launcher sees it and ends it.

What a pod cannot write itself (it is one static program) the test stores in its place.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pytest
import urllib3

from flyte_build.submit.action import LaunchRequest, Outcome, SecretRef
from flyte_build.submit.control.addressing import AS
from flyte_build.submit.kubernetes.access import ask, manifests
from flyte_build.submit.kubernetes.api import ApiError
from flyte_build.submit.kubernetes.api import Cluster as Client
from flyte_build.submit.kubernetes.gangs import made_for
from flyte_build.submit.kubernetes.kueue import installed_groups, queue_trouble
from flyte_build.submit.kubernetes.pod import Place, job
from flyte_build.submit.kubernetes.preflight import preflight
from flyte_build.submit.kubernetes.room import Room
from flyte_build.submit.kubernetes.sight import Sight
from flyte_build.submit.kubernetes.target import Target
from flyte_build.submit.kubernetes.watching import JOBS, PODS, Watcher
from tests.cluster.cluster import Cluster
from tests.cluster.submitting import Bench, spec

pytestmark = pytest.mark.integration


def test_an_attempt_with_a_gpu_from_its_job_to_its_outputs(make: Callable[..., Bench]) -> None:
    bench = make()

    def write() -> None:
        bench.until("running on ")
        obstore.put(bench.mirror.store, f"{bench.run}/meta/a0/1/outputs.pb", b"outputs")

    do = ("env=NVIDIA_VISIBLE_DEVICES", "env=NAME", "env=_U_EP_OVERRIDE", "sleep=6s")
    assert bench.launch(*do, task_spec=spec(gpu="1"), during=write) == Outcome(0)
    # What a good end leaves lies in the storage alone.
    key = bench.mirror.key(bench.folder.log("a0", 1))
    log = bytes(obstore.get(bench.mirror.store, key).bytes()).decode().splitlines()
    assert log[0].startswith("NVIDIA_VISIBLE_DEVICES=")
    assert log[1:] == ["NAME=value", f"_U_EP_OVERRIDE=http://here/token/{AS}/a0"]
    assert obstore.get(bench.mirror.store, f"{bench.run}/kept/a0/1/outputs.pb").bytes() == b"outputs"
    assert not (bench.folder.outcome("a0", 1) / "outputs.pb").exists()
    assert bench.lines[-1] == "succeeded"


def test_a_failure_keeps_its_code_and_its_log(make: Callable[..., Bench]) -> None:
    bench = make()
    outcome = bench.launch("print=before", "exit=3")
    assert (outcome.exit_code, outcome.reason) == (3, "")
    assert bench.folder.log("a0", 1).read_text() == "before\n"


def test_a_second_launcher_adopts_the_firsts_job(make: Callable[..., Bench]) -> None:
    first = make()
    name = first.name

    async def begun_and_left() -> None:
        first.watcher.start()
        log = first.folder.log("a0", 1)
        log.parent.mkdir(parents=True)
        request = LaunchRequest(first.run, "a0", 1, "env.task", "it", ("sleep=3s", "print=once"), {}, log,
                                task_spec=spec())  # fmt: skip
        manifest = await first.launcher.prepared(request)
        await first.launcher.make(made_for(request), request, lambda: manifest()[0])
        first.straight.close()

    asyncio.run(begun_and_left())
    log = first.folder.log("a0", 1)
    log.parent.rmdir()
    uid = first.client.get(JOBS, name)
    assert uid is not None
    assert first.launch("print=never") == Outcome(0)
    again = first.client.get(JOBS, name)
    assert again is not None
    assert again["metadata"]["uid"] == uid["metadata"]["uid"]
    assert log.read_text() == "once\n"


def test_what_takes_too_long_and_its_log_is_kept(make: Callable[..., Bench]) -> None:
    bench = make()
    assert bench.launch("print=begun", "sleep=120s", timeout=4.0).reason == "timeout"
    assert bench.folder.log("a0", 1).read_text() == "begun\n"


def test_a_quota_is_waited_for_and_said(make: Callable[..., Bench]) -> None:
    bench = make()
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"requests.memory": "1Mi"}}}
    bench.client.create("v1/resourcequotas", quota)

    def lift() -> None:
        bench.until("quota: q")
        bench.client.delete("v1/resourcequotas", "q")

    assert bench.launch("print=late", during=lift) == Outcome(0)


def test_a_pod_that_somebody_deletes_is_interrupted(make: Callable[..., Bench]) -> None:
    bench = make()

    def delete() -> None:
        bench.until("running on ")
        (page,) = bench.client.pages(PODS, {"labelSelector": f"run={bench.run}"})
        bench.client.delete(PODS, page["items"][0]["metadata"]["name"], grace=0)

    outcome = bench.launch("sleep=120s", during=delete)
    assert (outcome.reason, outcome.code) == ("lost", "Interrupted")
    assert bench.holds_nothing()


def test_an_attempt_that_is_called_off_holds_nothing(make: Callable[..., Bench]) -> None:
    bench = make()
    log = bench.folder.log("a0", 1)
    log.parent.mkdir(parents=True)
    request = LaunchRequest(bench.run, "a0", 1, "env.task", "it", ("sleep=300s",), {}, log, task_spec=spec(gpu="4"))

    async def go() -> None:
        bench.wake = bench.launcher.changed(asyncio.get_running_loop())
        bench.watcher.start()
        running = asyncio.create_task(bench.launcher.launch(request))
        await asyncio.to_thread(bench.until, "running on ")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(go())
    assert bench.holds_nothing()


def test_what_is_hopeless_is_found_before_anything_is_made(make: Callable[..., Bench]) -> None:
    bench = make()

    def problems(*secrets: SecretRef, **asked: Any) -> list[str]:
        log = Path("/dev/null")
        request = LaunchRequest(bench.run, "a0", 1, "env.task", "it", ("sleep=1s",), {}, log, secrets=secrets,
                                task_spec=spec(**asked))  # fmt: skip
        manifest = job(request, bench.image, bench.launcher.place)
        return [p.message for p in preflight(bench.client, {"env.task": manifest})]

    assert problems() == []
    assert problems(gpu="4") == []
    assert problems(gpu="8") == ["none of 1 nodes could ever hold it: 1 with at most 4 of nvidia.com/gpu"]
    (missing,) = problems(account="nobodys")
    assert "nobodys" in missing
    assert problems(SecretRef("key", "nobodys", "KEY"))[-1].endswith("has no Secret nobodys")
    bench.client.create("v1/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"requests.memory": "1Mi"}}})
    assert any(m.startswith("the quota q allows 1Mi of requests.memory") for m in problems())
    pods = [p for page in bench.client.pages(PODS, {}) for p in page["items"]]
    assert pods == [], "it was only asked"


def test_without_kueue_a_queue_is_refused(make: Callable[..., Bench]) -> None:
    client = make().client
    told = queue_trouble(client, "q", installed_groups(client))
    assert told is not None
    assert told[0] == "queue `q` is set, and Kueue is not installed"


def test_what_the_manifests_grant_is_enough_and_no_more(
    make: Callable[..., Bench], cluster: Cluster, tmp_path: Path
) -> None:
    bench = make()
    admin, namespace = bench.client, bench.client.namespace
    target = Target("t", Place(namespace, service_account="tasks"), "s3://b", driver_account="runner")
    groups = {"ServiceAccount": "v1/serviceaccounts", "NetworkPolicy": "networking.k8s.io/v1/networkpolicies"}
    for value in manifests(target):
        plural = f"{value['apiVersion']}/{value['kind'].lower()}s"
        admin.create(groups.get(value["kind"], plural), value)
    told = admin.request("POST", admin.path("v1/serviceaccounts", "runner/token"), body={"spec": {}})
    config = re.search(r'certificate-authority-data"?: "?([A-Za-z0-9+/=]+)', (cluster.home / "kubeconfig").read_text())
    assert config is not None
    authority = tmp_path / "ca.pem"
    authority.write_bytes(base64.b64decode(config[1]))
    runner = Client(
        admin.host, urllib3.PoolManager(ca_certs=str(authority), maxsize=8),
        lambda: {"Authorization": f"Bearer {told['status']['token']}"}, namespace=namespace,
    )  # fmt: skip
    assert all(answer.allowed for answer in ask(runner))
    with pytest.raises(ApiError, match="403 nodes is forbidden"):
        runner.request("GET", "/api/v1/nodes")
    with pytest.raises(ApiError, match="403 secrets is forbidden"):
        runner.request("GET", runner.path("v1/secrets"))
    waits = Sight("queued", "queued", unplaced={"containers": []}, lacks=("nvidia.com/gpu",))
    line = asyncio.run(Room(runner).told("it", waits)).line
    assert line == "queued; pods of this namespace have none of nvidia.com/gpu"
    watcher = Watcher(runner, f"run={bench.run}", bench._changed)
    bench.watcher, bench.launcher = watcher, replace(bench.launcher, cluster=runner, watcher=watcher)
    assert preflight(runner, {"t": job(_request(bench), bench.image, bench.launcher.place)}) == []
    assert bench.launch("print=by the runner") == Outcome(0)
    assert bench.folder.log("a0", 1).read_text() == "by the runner\n"


def _request(bench: Bench) -> LaunchRequest:
    return LaunchRequest(bench.run, "a0", 1, "env.task", "it", ("sleep=1s",), {}, Path("/dev/null"), task_spec=spec())


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_what_the_account_may_not_is_refused_with_a_way_out(make: Callable[..., Bench], cluster: Cluster) -> None:
    bench = make()
    bench.client._credentials = lambda: {"authorization": "Bearer nobody's"}
    bench.client._pool = type(bench.client._pool)(cert_reqs="CERT_NONE")
    with pytest.raises(ApiError) as e:
        bench.client.get(JOBS, "x")
    assert e.value.status in (401, 403)
    assert e.value.hint is not None
