"""Apps on a cluster: what is made of one, how it is waited for, and that nothing is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import flyte
import obstore
import pytest
from kubernetes.client import V1Container, V1PodSpec
from obstore.store import MemoryStore

from flyte_build.submit.action import LaunchRequest, Outcome, SecretRef
from flyte_build.submit.deployed import DeployedTask
from flyte_build.submit.kubernetes import cluster_apps
from flyte_build.submit.kubernetes.called_apps import RunApps
from flyte_build.submit.kubernetes.cluster_apps import (
    DEPLOYMENTS,
    ClusterApp,
    ClusterApps,
    app_object,
    app_request,
    deployment,
    service,
)
from flyte_build.submit.kubernetes.errors import Unplaceable
from flyte_build.submit.kubernetes.mirror import Mirror
from flyte_build.submit.kubernetes.needs import Needs
from flyte_build.submit.kubernetes.pod import SIDECARS, Place
from tests.support.apiserver import NAMESPACE, ApiServer, Bad

from .test_pod import DIGEST, IMAGE, SIDE, spec_of

OWNER = {"apiVersion": "batch/v1", "kind": "Job", "name": "driver", "uid": "u"}
PLACE = Place(NAMESPACE, storage_secret="keys", owner=OWNER)
APP = ClusterApp("front", DIGEST, spec_of(), ("serve", "{{.codeBundle}}"), 8080, (SecretRef("k", "vendor", "KEY"),))
NAME = app_object("r1", "front")
SERVICES = "v1/services"


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror("s3://bucket/base", tmp_path / "runs", MemoryStore())


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_apps, "_LOOK", 0.01)


def served(api: ApiServer, mirror: Mirror, said: list[str] | None = None, **more: Any) -> ClusterApps:
    heard = said if said is not None else []
    given: dict[str, Any] = {
        "place": PLACE, "apps": [APP], "images": {DIGEST: IMAGE}, "needs": {DIGEST: Needs(("linux/arm64",))},
        "code": "s3://bucket/base/bundles/c.tgz", "env": {"AWS_REGION": "r"}, "unscheduled": 60.0, **more,
    }  # fmt: skip
    return ClusterApps(
        api.cluster(sleep=lambda _: None), mirror, "r1", said=lambda action, attempt, line: heard.append(line), **given
    )


def answer(api: ApiServer, *, ready: int = 1) -> None:
    api.put(DEPLOYMENTS, {**api.objects[DEPLOYMENTS][NAME], "status": {"readyReplicas": ready}})


def test_an_app_is_a_deployment_of_a_pod_like_an_attempts_and_a_service() -> None:
    made = deployment(APP, app_request(APP, "r1", IMAGE, {"A": "b"}), PLACE, ("serve", "x.tgz"), None)
    assert made["metadata"]["name"] == NAME
    assert made["metadata"]["ownerReferences"] == [OWNER]
    assert made["spec"]["replicas"] == 1
    pod = made["spec"]["template"]
    assert made["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["restartPolicy"] == "Always"
    (main,) = pod["spec"]["containers"]
    assert (main["image"], main["command"], main["ports"]) == (IMAGE, ["serve", "x.tgz"], [{"containerPort": 8080}])
    assert main["readinessProbe"]["tcpSocket"] == {"port": 8080}
    assert {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "vendor", "key": "k"}}} in main["env"]
    assert main["envFrom"] == [{"secretRef": {"name": "keys"}}]
    leads = service(APP, "r1", OWNER)
    assert leads["spec"] == {
        "selector": made["spec"]["selector"]["matchLabels"],
        "ports": [{"port": 80, "targetPort": 8080}],
    }
    assert leads["metadata"]["name"] == NAME
    assert app_object("r2", "front") != NAME


def test_other_containers_of_its_pod_template_are_as_the_lock_pins_them(api: ApiServer, mirror: Mirror) -> None:
    side, init = V1Container(name="side", image="proxy:1"), V1Container(name="first", image="first:1")
    containers = [V1Container(name="same", image=IMAGE), V1Container(name="primary"), side]
    pod_template = flyte.PodTemplate(pod_spec=V1PodSpec(containers=containers, init_containers=[init]))
    app = replace(APP, spec=spec_of(pod_template=pod_template))
    pins = {"proxy:1": SIDE, "first:1": f"first:1@{DIGEST}"}
    made = served(api, mirror, apps=[app], env={SIDECARS: json.dumps(pins)})

    def during() -> None:
        until(api, lambda: NAME in api.objects.get(SERVICES, {}))
        answer(api)

    assert run(made, during) == (None, None)
    (created,) = [v for _, kind, what, v in api.log if kind == DEPLOYMENTS and what == "ADDED"]
    pod = created["spec"]["template"]["spec"]
    assert {c["name"]: c["image"] for c in pod["containers"]} == {"same": IMAGE, "primary": IMAGE, "side": SIDE}
    assert pod["initContainers"] == [{"name": "first", "image": f"first:1@{DIGEST}"}]
    commands = {c["name"]: c.get("command") for c in pod["containers"]}
    assert commands == {"same": None, "primary": ["serve", "s3://bucket/base/bundles/c.tgz"], "side": None}
    assert SIDECARS not in json.dumps(pod)
    first, _ = run(served(api, mirror, apps=[app]))
    assert first is not None
    assert (first.code, "takes container first from first:1, expected one by digest" in first.message) == (
        "Unplaceable", True,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["9lives", "a.b", "x" * 55])
def test_an_app_whose_name_no_service_has_is_refused(name: str) -> None:
    with pytest.raises(Unplaceable, match=f"app {name} can be no Service"):
        app_object("r1", name)


def test_an_app_survives_its_way_through_the_storage() -> None:
    assert ClusterApp.from_json(json.loads(json.dumps(APP.to_json()))) == APP


def run(made: ClusterApps, during: Callable[[], None] = lambda: None) -> tuple[Outcome | None, Outcome | None]:
    """What two actions that want the apps are told; then they are ended."""

    async def go() -> tuple[Outcome | None, Outcome | None]:
        asked = asyncio.gather(made.ready(), made.ready())
        await asyncio.to_thread(during)
        try:
            async with asyncio.timeout(30):
                first, second = await asked
        finally:
            await made.close()
        return first, second

    return asyncio.run(go())


def until(api: ApiServer, good: Callable[[], bool]) -> None:
    with api.changed:
        assert api.changed.wait_for(good, 30)


def test_actions_wait_until_it_answers_and_then_nothing_is_left(api: ApiServer, mirror: Mirror) -> None:
    said: list[str] = []
    made = served(api, mirror, said)
    assert made.variables == {
        "INTERNAL_APP_ENDPOINT_PATTERN": f"http://{{app_fqdn}}-{NAME.rpartition('-')[2]}.{NAMESPACE}.svc"
    }
    assert made.variables["INTERNAL_APP_ENDPOINT_PATTERN"].format(app_fqdn="front") == f"http://{NAME}.{NAMESPACE}.svc"

    def during() -> None:
        until(api, lambda: NAME in api.objects.get(SERVICES, {}))
        answer(api)

    assert run(made, during) == (None, None)
    assert said[-1] == "app front answers"
    assert (api.objects[DEPLOYMENTS], api.objects[SERVICES]) == ({}, {})
    (created,) = [v for _, kind, what, v in api.log if kind == DEPLOYMENTS and what == "ADDED"]
    (main,) = created["spec"]["template"]["spec"]["containers"]
    assert main["command"] == ["serve", "s3://bucket/base/bundles/c.tgz"]
    assert {"name": "AWS_REGION", "value": "r"} in main["env"]
    assert "arm64" in json.dumps(created["spec"]["template"]["spec"]["affinity"]), "what its image needs of a node"


def test_a_later_driver_goes_on_with_what_is_there(api: ApiServer, mirror: Mirror) -> None:
    first, second = served(api, mirror), served(api, mirror)

    async def go() -> None:
        waiting = asyncio.create_task(first.ready())
        await asyncio.to_thread(until, api, lambda: NAME in api.objects.get(SERVICES, {}))
        waiting.cancel()  # as if it were killed
        await asyncio.wait([waiting])
        answer(api)
        assert await second.ready() is None
        await second.close()

    asyncio.run(go())
    assert [what for _, kind, what, _ in api.log if kind == DEPLOYMENTS] == ["ADDED", "MODIFIED", "DELETED"]


def test_one_that_ends_again_and_again_fails_whoever_wants_it_with_its_words(api: ApiServer, mirror: Mirror) -> None:
    made = served(api, mirror)
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}

    def during() -> None:
        until(api, lambda: NAME in api.objects.get(SERVICES, {}))
        labels = api.objects[DEPLOYMENTS][NAME]["spec"]["selector"]["matchLabels"]
        status = {"phase": "Running", "containerStatuses": [{"name": "primary", "state": state}]}
        api.put("v1/pods", {"metadata": {"name": f"{NAME}-x", "labels": {**labels, "job-name": ""}}, "status": status})
        api.documents[f"/api/v1/namespaces/{NAMESPACE}/pods/{NAME}-x/log"] = {"said": "no model"}

    first, second = run(made, during)
    assert first is not None
    assert first == second
    assert (first.code, first.whose) == ("AppFailed", "user")
    assert first.message.startswith("app front does not answer on port 8080: CrashLoopBackOff: back-off\n")
    assert "no model" in first.message
    kept = bytes(obstore.get(mirror.store, "r1/workers/app-front.log").bytes())
    assert b"no model" in kept
    assert api.objects[DEPLOYMENTS] == {}


CODE = "s3://bucket/base/bundles/d.tgz"


def called(**more: Any) -> DeployedTask:
    """A task of other code, which brings an app of the same name."""
    return DeployedTask(
        "p", "d", "other.work", "1", "other", b"", {IMAGE: DIGEST}, "sha256:dd", Path("/nowhere"), 0.0, {},
        **{"apps": (APP.to_json(),), **more},
    )  # fmt: skip


def wants(*args: str) -> LaunchRequest:
    return LaunchRequest("r1", "a1", 1, "other.work", DIGEST, ("a0", *args), {}, Path("/dev/null"))


def test_apps_of_what_is_called_by_name_are_served_beside_the_runs_own(api: ApiServer, mirror: Mirror) -> None:
    apps = RunApps(served(api, mirror))
    apps.add(called(apps=()), CODE)
    assert apps.called == {}
    apps.add(called(), CODE)
    apps.add(called(), CODE)
    own, other = (apps.variables(wants(*args))["INTERNAL_APP_ENDPOINT_PATTERN"] for args in ((), ("--tgz", CODE)))
    assert own == apps.variables(wants("--tgz", "s3://bucket/base/bundles/c.tgz"))["INTERNAL_APP_ENDPOINT_PATTERN"]
    name = other.format(app_fqdn="front").removeprefix("http://").partition(".")[0]
    assert own != other
    assert name.startswith("front-")

    async def go() -> None:
        waiting = asyncio.create_task(apps.ready(wants("--dest", ".", "--tgz", CODE)))
        await asyncio.to_thread(until, api, lambda: name in api.objects.get(SERVICES, {}))
        assert list(api.objects[DEPLOYMENTS]) == [name], "nobody wants the run's own"
        made = api.objects[DEPLOYMENTS][name]
        api.put(DEPLOYMENTS, {**made, "status": {"readyReplicas": 1}})
        assert await waiting is None
        selector = api.objects[SERVICES][name]["spec"]["selector"]
        assert selector == made["spec"]["selector"]["matchLabels"]
        assert selector != service(APP, "r1", OWNER)["spec"]["selector"], "no call comes to the other"
        (main,) = made["spec"]["template"]["spec"]["containers"]
        assert main["command"] == ["serve", CODE], "with the code that it was deployed with"
        later = ClusterApp("back", DIGEST, spec_of(), ("serve",), 80)
        apps.add(called(apps=(later.to_json(),)), CODE)
        waiting = asyncio.create_task(apps.ready(wants("--tgz", CODE)))
        back = other.format(app_fqdn="back").removeprefix("http://").partition(".")[0]
        await asyncio.to_thread(until, api, lambda: back in api.objects[SERVICES])
        api.put(DEPLOYMENTS, {**api.objects[DEPLOYMENTS][back], "status": {"readyReplicas": 1}})
        assert await waiting is None, "another task of the same code has more"
        await apps.close()

    asyncio.run(go())
    assert (api.objects[DEPLOYMENTS], api.objects[SERVICES]) == ({}, {})


def test_what_the_cluster_does_not_allow_is_said(api: ApiServer, mirror: Mirror) -> None:
    api.bad = lambda method, kind, query: (
        Bad(403, "Forbidden", "may not") if (method, kind) == ("POST", DEPLOYMENTS) else None
    )
    first, _ = run(served(api, mirror))
    assert first is not None
    assert first.code == "Forbidden"
    assert run(served(api, mirror, apps=[])) == (None, None)


def test_the_runs_own_code_keeps_its_own_apps(api: ApiServer, mirror: Mirror) -> None:
    apps = RunApps(served(api, mirror))
    later = ClusterApp("back", DIGEST, spec_of(), ("serve",), 80)
    apps.add(called(apps=(later.to_json(),)), apps.own.code)
    assert apps.called == {}
    assert [app.name for app in apps.own.apps] == ["front", "back"]
