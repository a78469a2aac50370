"""Pods that try a target out: what each end of theirs means, and that nothing of them stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flyte_build.submit.kubernetes.checking import Check
from flyte_build.submit.kubernetes.pod import Place
from flyte_build.submit.kubernetes.probing import PATIENCE, probe_pull, probe_storage
from flyte_build.submit.kubernetes.target import Target
from tests.support.apiserver import NAMESPACE, ApiServer, Bad

IMAGE = "registry.example/team/check@sha256:" + "a" * 64
TARGET = Target(
    "prod", Place(NAMESPACE, service_account="runner", pull_secrets=("pull",), storage_secret="keys"), "s3://b/runs"
)


class Probe:
    """A probe whose waits are when the cluster goes on: ``then`` is called with the Job's name, once."""

    def __init__(self, api: ApiServer, then: Callable[[str], object]) -> None:
        self.api = api
        self.then: Callable[[str], object] | None = then
        self.now = 0.0
        self.job: dict[str, Any] = {}

    def sleep(self, seconds: float) -> None:
        self.now += seconds if self.then is not None else 10.0
        if self.then is not None:
            ((name, self.job),) = self.api.objects["batch/v1/jobs"].items()
            self.then(name)
            self.then = None

    def go(self, probe: Callable[..., Check]) -> Check:
        found = probe(self.api.cluster(), TARGET, IMAGE, clock=lambda: self.now, sleep=self.sleep)
        assert self.api.objects["batch/v1/jobs"] == {}, "nothing stays"
        return found


def ended(api: ApiServer, code: int, reason: str = "Error") -> Callable[[str], object]:
    phase = "Failed" if code else "Succeeded"
    status = [{"state": {"terminated": {"exitCode": code, "reason": reason, "message": "why"}}}]
    return lambda name: api.pod(name, phase, containerStatuses=status)


def waiting(api: ApiServer, reason: str, message: str = "") -> Callable[[str], object]:
    status = [{"image": IMAGE, "state": {"waiting": {"reason": reason, "message": message}}}]
    return lambda name: api.pod(name, containerStatuses=status)


def test_a_probe_is_a_pod_as_tasks_have_it(api: ApiServer) -> None:
    probe = Probe(api, ended(api, 128, "StartError"))
    assert probe.go(probe_pull).state == "ok"
    spec = probe.job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert (spec["serviceAccountName"], spec["imagePullSecrets"]) == ("runner", [{"name": "pull"}])
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert (container["image"], container["imagePullPolicy"]) == (IMAGE, "Always")
    assert container["resources"]["limits"] == {"cpu": "50m", "memory": "128Mi"}


@pytest.mark.parametrize("reason", ["RunContainerError", "CreateContainerError"])
def test_that_an_image_has_no_program_says_that_it_was_pulled(api: ApiServer, reason: str) -> None:
    found = Probe(api, waiting(api, reason)).go(probe_pull)
    assert found == Check("a pod pulls by digest", "ok", "registry.example/team/check, from a node of the cluster")


def test_an_image_that_cannot_be_pulled(api: ApiServer) -> None:
    probe = Probe(api, waiting(api, "ErrImagePull", "rpc error: code = Unknown desc = 401 Unauthorized"))
    found = probe.go(probe_pull)
    assert (found.state, found.said) == ("failed", f"its image {IMAGE} cannot be pulled: 401 Unauthorized")
    assert found.hint == "nodes pull with `pull-secrets` of the target, or with what they have of their own"
    assert probe.now < PATIENCE


def test_a_pod_that_no_node_takes_is_waited_for_so_long(api: ApiServer) -> None:
    unscheduled = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 too small."}]
    probe = Probe(api, lambda name: api.pod(name, conditions=unscheduled))
    assert probe.go(probe_pull).said == "queued: 0/1 nodes are available: 1 too small"
    assert probe.now >= PATIENCE


def test_a_cluster_that_says_no(api: ApiServer) -> None:
    api.bad = lambda method, kind, query: Bad(403, "Forbidden", "jobs is forbidden") if method == "POST" else None
    found = probe_pull(api.cluster(), TARGET, IMAGE)
    assert found.state == "failed"
    assert "403 jobs is forbidden" in found.said
    assert "target manifests" in str(found.hint)


def test_storage_from_a_pod(api: ApiServer) -> None:
    probe = Probe(api, ended(api, 0, "Completed"))
    assert probe.go(probe_storage) == Check("storage from a pod", "ok", "written, read and removed in s3://b/runs")
    (container,) = probe.job["spec"]["template"]["spec"]["containers"]
    assert container["command"][:2] == ["python", "-c"]
    assert container["command"][3:] == ["s3://b/runs", "{}"]
    compile(container["command"][2], "script", "exec")


def test_an_image_without_python(api: ApiServer) -> None:
    found = Probe(api, ended(api, 128, "StartError")).go(probe_storage)
    assert (found.state, found.said) == ("failed", f"{IMAGE} has no python")


def test_storage_that_a_pod_does_not_reach_is_told_in_its_own_words(api: ApiServer) -> None:
    def fail(name: str) -> None:
        ended(api, 1)(name)
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}-abcde/log"
        api.documents[path] = {"not": "a log, but one line"}

    found = Probe(api, fail).go(probe_storage)
    assert found.said == 's3://b/runs: {"not": "a log, but one line"}'
    assert "storage-secret" in str(found.hint)
