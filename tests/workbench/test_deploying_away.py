"""``deploy --on``: tasks in a target's storage, with images by reference, what they need of nodes, and sidecars by
digest. What makes images and pushes them is played."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from flyteidl2.task import task_definition_pb2
from google.protobuf.json_format import MessageToDict

import flyte_build
from flyte_build.kernel.errors import RunError
from flyte_build.submit.kubernetes.cluster_apps import ClusterApp, app_request, deployment
from flyte_build.submit.kubernetes.mirror import mirror_of
from flyte_build.submit.kubernetes.needs import Needs
from flyte_build.submit.kubernetes.pod import SIDECARS, Place
from flyte_build.submit.kubernetes.stored_tasks import StoredDeployments
from flyte_build.submit.template import read_task
from flyte_build.workbench import deploying_away
from flyte_build.workbench.deploying import deployed_tasks
from flyte_build.workbench.on_target import Pushed
from flyte_build.workbench.shelf import Shelf

FLOW = """
import flyte

env = flyte.TaskEnvironment("low", image=flyte.Image.from_debian_base(python_version=(3, 11)))


@env.task
async def work(x: int) -> int:
    return x
"""
IMAGE = "registry.example/team/low@sha256:" + "ab" * 32
DIGEST = IMAGE.rpartition("@")[2]
PROXY = "docker.io/proxy@sha256:" + "cd" * 32


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.flyte-build.targets.prod]\nnamespace = "ml"\nstorage = "file://{tmp_path}/storage"\n'
    )
    (tmp_path / "storage").mkdir()
    pushed: list[tuple[str, ...]] = []

    def push(bench: Any, environments: Sequence[Any], settings: Any, *, locked: bool, check: bool) -> Pushed:
        pushed.append((settings.registry, *(e.name for e in environments), str(locked), str(check)))
        return Pushed({"low": IMAGE}, {DIGEST: Needs(("linux/amd64",), "12.4")})

    monkeypatch.setattr(deploying_away, "pushed_for", push)
    monkeypatch.setattr(deploying_away, "connected_to", lambda target: None)
    monkeypatch.setattr(deploying_away, "for_cluster", lambda settings, target, cluster: settings)
    monkeypatch.setattr(deploying_away, "pinned", lambda *_: {SIDECARS: json.dumps({"proxy:1": PROXY})})
    monkeypatch.setenv("FLYTE_BUILD_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tasks_lie_in_the_targets_storage_as_any_run_there_needs_them(project: Path) -> None:
    done = flyte_build.open("flow.py").deploy(on="prod")
    (task,) = done.tasks
    assert (task.name, task.image, task.version, done.left_out) == ("low.work", DIGEST, done.version, ())
    found = StoredDeployments(mirror_of(f"file://{project}/storage", project / "runs", {})).find(
        "flyte-build", "development", "low.work", ""
    )
    assert found is not None
    assert found.images == {IMAGE: DIGEST}
    assert found.needs == {DIGEST: {"platforms": ["linux/amd64"], "cuda": "12.4"}}
    spec = task_definition_pb2.TaskSpec.FromString(found.spec)
    assert read_task(spec).image == IMAGE
    assert (project / "storage" / "bundles" / f"{found.code.removeprefix('sha256:')}.tgz").is_file()


APP = """
import flyte
import flyte.app
from kubernetes.client import V1Container, V1PodSpec

image = flyte.Image.from_debian_base(python_version=(3, 11))
template = flyte.PodTemplate(primary_container_name="app", pod_spec=V1PodSpec(containers=[
    V1Container(name="app"), V1Container(name="side", image="proxy:1")]))
front = flyte.app.AppEnvironment("front", image=image, args=["serve"], port=8080, pod_template=template)
env = flyte.TaskEnvironment("low", image=image, depends_on=[front])
plain = flyte.TaskEnvironment("plain", image=image)


@env.task
async def asks(x: int) -> int:
    return x


@plain.task
async def work(x: int) -> int:
    return x
"""


def test_apps_go_with_the_tasks_whose_environment_depends_on_them(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "asks.py").write_text(APP)
    references = {name: IMAGE.replace("low", name) for name in ("front", "low", "plain")}
    monkeypatch.setattr(deploying_away, "pushed_for", lambda *_, **__: Pushed(references, {}))
    looked_at: list[str] = []
    refuse = deploying_away.refuse_apps

    def refused(cluster: Any, target: Any, apps: Any, *_: Any) -> None:
        looked_at.extend(app.name for app in apps)

    monkeypatch.setattr(deploying_away, "refuse_apps", refused)
    flyte_build.open("asks.py").deploy(on="prod")
    found = {task.name: task for task in deployed_tasks(on="prod")}
    assert looked_at == ["front"]
    (app,) = found["low.asks"].apps
    assert (app["name"], app["port"], app["image"]) == ("front", 8080, DIGEST)
    served = ClusterApp.from_json(app)
    made = deployment(served, app_request(served, "r", references["front"]), Place("ml"), ["serve"], None)
    containers = made["spec"]["template"]["spec"]["containers"]
    images = {c["name"]: c["image"] for c in containers}
    assert images == {"app": references["front"], "side": PROXY}, "whoever calls it has no lock of its"
    assert found["plain.work"].apps == ()
    monkeypatch.setattr(deploying_away, "refuse_apps", refuse)
    (project / "asks.py").write_text(APP.replace('"front", image', '"9lives", image'))
    references["9lives"] = IMAGE
    with pytest.raises(RunError, match=r"app 9lives can be no Service of a cluster"):
        flyte_build.open("asks.py").deploy(on="prod")


def test_other_containers_of_a_pod_are_named_as_the_lock_pins_them() -> None:
    spec = task_definition_pb2.TaskSpec()
    containers = {"containers": [{"name": "primary"}, {"name": "side", "image": "proxy:1"}]}
    first = {"initContainers": [{"name": "first", "image": "proxy:1"}, {"name": "other", "image": "other:1"}]}
    spec.task_template.k8s_pod.pod_spec.update({**containers, **first})
    shelf = Shelf({}, lambda tasks: [], sidecars={"proxy:1": PROXY})
    pod = MessageToDict(shelf.completed(spec).task_template.k8s_pod.pod_spec)
    images = {c["name"]: c.get("image") for c in (*pod["containers"], *pod["initContainers"])}
    assert images == {"primary": None, "side": PROXY, "first": PROXY, "other": "other:1"}
    assert shelf.completed(task_definition_pb2.TaskSpec()) == task_definition_pb2.TaskSpec()


def test_the_same_is_the_same_version_and_this_machine_has_none_of_it(project: Path) -> None:
    first, again = (flyte_build.open("flow.py").deploy(on="prod") for _ in range(2))
    assert first.version == again.version
    assert (first.known, again.known) == (frozenset(), frozenset({"low.work"}))
    assert [t.name for t in deployed_tasks(on="prod")] == ["low.work"]
    assert deployed_tasks() == []
