"""A run that a pod drives: what is made for it, and what its submitter sees, asks and cleans up."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore

from flyte_build.kernel.errors import RunError
from flyte_build.submit.action import Phase
from flyte_build.submit.journal import ActionRecord
from flyte_build.submit.kubernetes import away, driver, reading
from flyte_build.submit.kubernetes.api import ApiError, Cluster
from flyte_build.submit.kubernetes.driver_job import (
    ENVIRONMENT,
    POLICIES,
    SERVICES,
    driver_job,
    keep_job,
    policy_of,
    service_of,
)
from flyte_build.submit.kubernetes.mirror import Mirror
from flyte_build.submit.kubernetes.names import run_object
from flyte_build.submit.kubernetes.needs import Needs
from flyte_build.submit.kubernetes.pod import Place
from flyte_build.submit.kubernetes.target import Target
from flyte_build.submit.kubernetes.watching import JOBS
from flyte_build.submit.observer import Collector
from tests.support.apiserver import NAMESPACE, ApiServer, Bad

IMAGE = "registry.example/team/driver@sha256:" + "ab" * 32
NAME = run_object("r1")
OWNER = {"apiVersion": "batch/v1", "kind": "Job", "name": NAME, "uid": "u"}


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    made = Mirror("s3://bucket/base", tmp_path / "runs", MemoryStore())
    facts = {"schema": 1, "name": "r1", "task": "t", "started": 0.0}
    obstore.put(made.store, "r1/run.json", json.dumps(facts).encode())
    return made


@pytest.fixture
def cluster(api: ApiServer) -> Cluster:
    return api.cluster(sleep=lambda _: None)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_LOOK", 0.01)
    monkeypatch.setattr(away, "_LOOK", 0.02)


def target(**more: Any) -> Target:
    place = Place(NAMESPACE, pull_secrets=("pull",), labels={"team": "ml"}, storage_secret="keys")
    return Target("t", place, "s3://b/p", options={"endpoint": "http://s3"}, **more)


def end(mirror: Mirror, phase: str = "succeeded") -> None:
    record = ActionRecord("a0", task="t", phase=Phase(phase)).to_json()
    lines = [{"action": record}, {"run": {"phase": phase, "ended": 1.0}}]
    obstore.put(mirror.store, "r1/journal/000001-000001.jsonl", b"".join(json.dumps(x).encode() + b"\n" for x in lines))


def test_the_drivers_job_holds_no_secret_and_is_all_there_is_to_make() -> None:
    job = driver_job("r1", IMAGE, target(), Needs(("linux/arm64",)))
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert container["command"] == ["/opt/venv/bin/python", "-I", "-m", "flyte_build.submit.kubernetes.driver"]
    told = next(e["value"] for e in container["env"] if e["name"] == ENVIRONMENT)
    assert json.loads(told) == {"run": "r1", "storage": "s3://b/p", "options": {"endpoint": "http://s3"}}
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert (pod["serviceAccountName"], pod["imagePullSecrets"]) == ("flyte-build", [{"name": "pull"}])
    assert job["metadata"]["labels"]["team"] == "ml"
    assert '"kubernetes.io/arch", "operator": "In", "values": ["arm64"]' in json.dumps(pod["affinity"])
    assert job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [3]


def test_what_a_driver_makes_is_its_jobs_own_and_is_found_again(api: ApiServer, cluster: Cluster) -> None:
    api.put(SERVICES, {"metadata": {"name": NAME}, "spec": {"clusterIP": "10.0.0.7"}})
    assert service_of(cluster, "r1", OWNER) == "10.0.0.7"
    policy_of(cluster, "r1", OWNER)
    policy_of(cluster, "r1", OWNER)
    policy = api.objects[POLICIES][NAME]
    assert policy["metadata"]["ownerReferences"] == [OWNER]
    (allowed,) = policy["spec"]["ingress"]
    assert allowed["from"][0]["podSelector"]["matchLabels"]["run"] == "r1"


def attend(mirror: Mirror, cluster: Cluster, heard: Collector, unscheduled: float = 60.0) -> Any:
    return asyncio.run(asyncio.wait_for(away.attend(mirror, cluster, "r1", heard, unscheduled), 30))


def pod(api: ApiServer, **status: Any) -> None:
    api.put(JOBS, {"metadata": {"name": NAME, "labels": {"run": "r1"}}, "spec": {}, "status": {}})
    api.pod(NAME, **status)


def test_a_run_is_followed_to_its_end(api: ApiServer, mirror: Mirror, cluster: Cluster) -> None:
    end(mirror)
    pod(api, phase="Running", containerStatuses=[{"name": "driver", "state": {"running": {}}}])
    heard = Collector()
    assert attend(mirror, cluster, heard).phase is Phase.SUCCEEDED
    assert [r.phase for r in heard.records] == [Phase.SUCCEEDED]


def test_what_a_driver_leaves_that_ended_before_its_run_goes_soon_and_a_day_after_the_run(
    api: ApiServer, cluster: Cluster
) -> None:
    """Kubernetes removes the Job, and all that it owns, apps among it, by this alone."""
    job = driver_job("r1", IMAGE, target())
    assert job["spec"]["ttlSecondsAfterFinished"] == 600
    api.put(JOBS, job)
    keep_job(cluster, "r1", target().place.keep_seconds)
    assert api.objects[JOBS][NAME]["spec"] == {**job["spec"], "ttlSecondsAfterFinished": 86400}
    for status in (403, 404):
        api.bad = lambda method, kind, query, status=status: Bad(status)  # type: ignore[misc]
        keep_job(cluster, "r1", 1)
    api.bad = lambda method, kind, query: Bad(422)
    with pytest.raises(ApiError):
        keep_job(cluster, "r1", 1)


def test_a_driver_that_never_begins_is_given_up_with_its_reason(
    api: ApiServer, mirror: Mirror, cluster: Cluster
) -> None:
    scheduled = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    pod(api, conditions=[scheduled])
    heard = Collector()
    with pytest.raises(RunError, match="the driver of run r1 does not run: queued: 0/1 nodes are available") as e:
        attend(mirror, cluster, heard, unscheduled=0.1)
    assert e.value.hint is not None
    assert heard.lines[0] == ("", 0, "driver: queued: 0/1 nodes are available: 1 Insufficient cpu")
    assert NAME not in api.objects[JOBS], "nothing is left of it"
    run = asyncio.run(reading.read_run(mirror, "r1"))
    assert (run.phase, run.running) == (Phase.FAILED, False)


def test_a_driver_that_obeys_ends_the_run(mirror: Mirror, cluster: Cluster) -> None:
    heard = Collector()

    async def go() -> Any:
        aborting = asyncio.create_task(away.abort(mirror, cluster, "r1", heard))
        while not (keys := await mirror.keys("r1/requests")):
            await asyncio.sleep(0)
        (key,) = keys
        assert json.loads(await mirror.get(key) or b"") == {"abort": "asked for"}
        end(mirror, "aborted")
        return await aborting

    assert asyncio.run(asyncio.wait_for(go(), 30)).phase is Phase.ABORTED
    assert [r.phase for r in heard.records] == [Phase.ABORTED]


def test_one_that_does_not_is_deleted(
    api: ApiServer, mirror: Mirror, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(away, "OBEYS_SECONDS", 0.05)
    pod(api, phase="Running")
    run = asyncio.run(asyncio.wait_for(away.abort(mirror, cluster, "r1", Collector()), 30))
    assert (run.phase, NAME in api.objects[JOBS]) == (Phase.ABORTED, False)


def test_without_the_cluster_the_request_is_left(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(away, "OBEYS_SECONDS", 0.05)
    heard = Collector()
    asyncio.run(asyncio.wait_for(away.abort(mirror, None, "r1", heard), 30))
    assert heard.warnings == ["the driver of r1 has not obeyed yet; it will when it looks at the storage"]


def test_process_1_begins_the_driver_anew_until_it_has_come_to_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = tmp_path / "codes"
    codes.write_text("-9 1 0")
    script = (
        "import os, pathlib, sys\n"
        f"p = pathlib.Path({str(codes)!r})\n"
        "code, *rest = p.read_text().split()\n"
        "p.write_text(' '.join(rest))\n"
        "os.kill(os.getpid(), 9) if code == '-9' else sys.exit(int(code))\n"
    )
    begin = driver.subprocess.Popen
    monkeypatch.setattr(driver.signal, "signal", lambda *_: None)
    monkeypatch.setattr(driver.time, "sleep", lambda _: None)
    monkeypatch.setattr(driver.subprocess, "Popen", lambda _: begin([sys.executable, "-IS", "-c", script]))
    assert driver._keep() == 0
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "the driver ended with -9", "the driver ended with 1",
    ]  # fmt: skip
