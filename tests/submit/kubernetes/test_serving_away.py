"""Apps that are served without a run: what keeps them there, what is told of them, and that nothing is left."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import flyte
import obstore
import pytest
from kubernetes.client import V1Container, V1PodSpec
from obstore.store import MemoryStore

from flyte_build.kernel.errors import RunError
from flyte_build.submit.kubernetes import cluster_apps, keeping, serving
from flyte_build.submit.kubernetes.cluster_apps import DEPLOYMENTS, app_object
from flyte_build.submit.kubernetes.keeping import SILENT_SECONDS, beat_key, keep, keeper_job
from flyte_build.submit.kubernetes.mirror import Mirror
from flyte_build.submit.kubernetes.needs import Needs
from flyte_build.submit.kubernetes.pod import SIDECARS, Place
from flyte_build.submit.kubernetes.serving import Served, serve_away
from flyte_build.submit.kubernetes.target import Target
from flyte_build.submit.kubernetes.watching import JOBS
from tests.support.apiserver import NAMESPACE, ApiServer

from .test_cluster_apps import APP
from .test_pod import DIGEST, IMAGE, SIDE, spec_of

TARGET = Target("t", Place(NAMESPACE, storage_secret="keys"), "s3://bucket/base")
NAME = app_object("serve-1", "front")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_apps, "_LOOK", 0.01)
    monkeypatch.setattr(serving, "_LOOK", 0.01)
    monkeypatch.setattr(serving, "BEAT_SECONDS", 0.01)


class Serving:
    """``serve_away`` in a thread of its own, and what it told."""

    def __init__(self, api: ApiServer, folder: Path) -> None:
        self.api, self.mirror = api, Mirror("s3://bucket/base", folder, MemoryStore())
        self.stop = threading.Event()
        self.told: list[str] = []
        self.failure: Exception | None = None
        keeper = keeper_job("serve-1", IMAGE, TARGET)
        self.keeper = keeper["metadata"]["name"]
        template = flyte.PodTemplate(
            pod_spec=V1PodSpec(containers=[V1Container(name="primary"), V1Container(name="side", image="proxy:1")])
        )
        app = replace(APP, spec=spec_of(pod_template=template))
        pins = {SIDECARS: json.dumps({"proxy:1": SIDE})}
        served = Served("serve-1", [app], "front", {DIGEST: IMAGE}, {}, "s3://bucket/base/bundles/c.tgz", keeper, pins)

        def go() -> None:
            cluster = api.cluster(sleep=lambda _: None)
            try:
                asyncio.run(
                    serve_away(
                        cluster, self.mirror, TARGET, served, lambda url: self._tell(f"at {url}"), self._tell,
                        lambda _: None, self.stop,
                    )
                )  # fmt: skip
            except Exception as e:
                self.failure = e

        self.thread = threading.Thread(target=go)

    def _tell(self, words: str) -> None:
        with self.api.changed:
            self.told.append(words)
            self.api.changed.notify_all()

    def until(self, good: Callable[[], bool]) -> None:
        with self.api.changed:
            assert self.api.changed.wait_for(good, 30), (self.told, self.failure)


@pytest.fixture
def served(api: ApiServer, tmp_path: Path) -> Iterator[Serving]:
    made = Serving(api, tmp_path)
    made.thread.start()
    yield made
    made.stop.set()
    made.thread.join()


def put(api: ApiServer, **status: Any) -> None:
    labels = api.objects[DEPLOYMENTS][NAME]["spec"]["selector"]["matchLabels"]
    api.put("v1/pods", {"metadata": {"name": f"{NAME}-x", "labels": {**labels, "job-name": ""}}, "status": status})


def test_it_is_served_until_it_is_to_end_and_then_nothing_is_left(api: ApiServer, served: Serving) -> None:
    served.until(lambda: NAME in api.objects.get("v1/services", {}))
    (owner,) = api.objects[DEPLOYMENTS][NAME]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("Job", served.keeper)
    containers = api.objects[DEPLOYMENTS][NAME]["spec"]["template"]["spec"]["containers"]
    assert [c["image"] for c in containers] == [IMAGE, SIDE], "by digest, as the lock pins them"
    api.documents[f"/api/v1/namespaces/{NAMESPACE}/pods/{NAME}-x/log"] = {"I": "serve"}
    put(api, phase="Running", containerStatuses=[{"name": "primary", "state": {"running": {}}}])
    api.put(DEPLOYMENTS, {**api.objects[DEPLOYMENTS][NAME], "status": {"readyReplicas": 1}})
    served.until(lambda: f"at http://{NAME}.{NAMESPACE}.svc" in served.told)
    beats = set()
    while len(beats) < 3:
        beats.add(bytes(obstore.get(served.mirror.store, beat_key("serve-1")).bytes()))
    served.stop.set()
    served.thread.join()
    assert served.failure is None
    assert (api.objects[DEPLOYMENTS], api.objects["v1/services"], api.objects[JOBS]) == ({}, {}, {})
    keys = [str(o["path"]) for page in obstore.list(served.mirror.store) for o in page]
    assert keys == ["serve-1/workers/app-front.log"]


def test_one_that_does_not_answer_is_an_error_and_nothing_is_left(api: ApiServer, served: Serving) -> None:
    served.until(lambda: NAME in api.objects.get("v1/services", {}))
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": "no secret"}}
    put(api, phase="Pending", containerStatuses=[{"name": "primary", "state": waiting}])
    served.thread.join()
    assert isinstance(served.failure, RunError)
    assert "app front does not answer on port 8080: CreateContainerConfigError: no secret" in str(served.failure)
    assert (api.objects[DEPLOYMENTS], api.objects[JOBS]) == ({}, {})


def test_the_keeper_holds_no_secret_has_no_rights_and_is_gone_at_once() -> None:
    job = keeper_job("serve-1", IMAGE, TARGET, Needs(("linux/arm64",)))
    pod = job["spec"]["template"]["spec"]
    assert job["spec"]["ttlSecondsAfterFinished"] == 0
    assert pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert pod["affinity"]["nodeAffinity"]


@pytest.mark.parametrize("unread", [False, True])
def test_the_keeper_ends_when_nobody_was_heard_of_for_long(unread: bool) -> None:
    """Beats that come now and then, and a storage that cannot be read for a while, are no end."""
    now = [0.0]
    beats = iter([*"0123", *([None] * 40 if unread else []), *"4"])
    last: list[bytes | None] = [b""]

    def read() -> bytes | None:
        told = next(beats, "4")
        last[0] = told.encode() if told is not None else None
        return last[0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    keep(read, lambda: now[0], sleep)
    heard = (44 if unread else 4) * keeping._LOOK
    assert now[0] == heard + SILENT_SECONDS
