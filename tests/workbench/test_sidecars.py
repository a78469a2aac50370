"""Images of pod templates' other containers: resolved once, kept until asked for anew, and told to a run by digest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import flyte_build
from flyte_build.kernel.errors import LockError, RefusedError, ResolutionError, StoreError
from flyte_build.kernel.reporting import Silent
from flyte_build.locks.sidecars import read_sidecars, write_sidecars
from flyte_build.planning.workspace import Workspace
from flyte_build.project.loading import load
from flyte_build.project.sidecars import takers
from flyte_build.registry import Reference, Registry
from flyte_build.settings import Settings
from flyte_build.store import Store
from flyte_build.submit.kubernetes.pod import SIDECARS
from flyte_build.submit.pods.given import read_shelf
from flyte_build.workbench.on_target import pushed_for
from flyte_build.workbench.pod_images import bring
from flyte_build.workbench.probe_image import push_probe_image
from flyte_build.workbench.sidecars import here, pinned, refuse_own_images, resolved
from tests.support.registry import RegistryServer

MAIN = """
import flyte
from kubernetes.client import V1Container, V1PodSpec

def template(image):
    return flyte.PodTemplate(pod_spec=V1PodSpec(
        containers=[V1Container(name="primary"), V1Container(name="proxy", image=image)],
        init_containers=[V1Container(name="known", image="x@sha256:{zeros}")]))

env = flyte.TaskEnvironment(name="env", pod_template=template("{host}/team/flyte-build-check:v1"))
plain = flyte.TaskEnvironment(name="plain")

@env.task
def main() -> int:
    return 1

@plain.task
def other() -> int:
    return 2
"""


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        yield server


@pytest.fixture
def workspace(tmp_path: Path, server: RegistryServer) -> Workspace:
    (tmp_path / "main.py").write_text(MAIN.replace("{host}", server.host).replace("{zeros}", "0" * 64))
    return Workspace(load(tmp_path / "main.py", tmp_path), tmp_path / "lockfiles")


def push(server: RegistryServer) -> str:
    with Registry() as registry:
        pushed = push_probe_image(registry, f"{server.host}/team")
        found = registry.manifest(pushed)
        assert found is not None
        registry.put_manifest(pushed.with_tag("v1"), found.data, found.media_type)
    return str(pushed.digest)


def test_what_a_template_takes_is_locked_by_digest(workspace: Workspace, server: RegistryServer) -> None:
    environments, image = list(workspace.project.environments.values()), f"{server.host}/team/flyte-build-check:v1"
    with pytest.raises(ResolutionError, match=r"env\.main: container proxy: its registry has no image"):
        resolved(workspace, environments, anew=False)
    digest = push(server)
    with pytest.raises(LockError, match=r"sidecars\.lock lacks images of pod templates:\n  env\.main: container proxy"):
        pinned(workspace, environments)
    found = resolved(workspace, environments, anew=False)
    assert found.written(workspace.lockfiles) == [f"{image} of a pod template is {digest}"]
    assert json.loads((workspace.lockfiles / "sidecars.lock").read_text()) == {"schema": 1, "images": {image: digest}}
    assert json.loads(pinned(workspace, environments)[SIDECARS]) == {image: f"{image}@{digest}"}
    assert pinned(workspace, [workspace.project.environments["plain"]]) == {}


def test_what_is_locked_stays_until_it_is_asked_for_anew(workspace: Workspace, server: RegistryServer) -> None:
    image, old = f"{server.host}/team/flyte-build-check:v1", "sha256:" + "1" * 64
    write_sidecars(workspace.lockfiles, {image: old, "nobodys:1": old})
    every = list(workspace.project.environments.values())
    asked = len(server.requests)
    kept = resolved(workspace, every, anew=False)
    assert (kept.images, kept.new, len(server.requests)) == ({image: old}, {}, asked), "nobody takes the other"
    assert resolved(workspace, [workspace.project.environments["plain"]], anew=True).images == {image: old}
    digest = push(server)
    assert resolved(workspace, every, anew=True).images == {image: digest}


def test_the_file_is_as_small_as_what_it_says(tmp_path: Path) -> None:
    digest = "sha256:" + "1" * 64
    assert read_sidecars(tmp_path) == {}
    assert not write_sidecars(tmp_path, {})
    assert write_sidecars(tmp_path, {"b": digest, "a": digest})
    assert not write_sidecars(tmp_path, {"a": digest, "b": digest})
    assert list(read_sidecars(tmp_path)) == ["a", "b"]
    assert write_sidecars(tmp_path, {})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        write_sidecars(tmp_path / "file", {"a": digest})


@pytest.mark.parametrize(
    "text", ["no", "{}", '{"schema": 2, "images": {}}', '{"schema": 1, "images": {"a": "b"}}', "[]"]
)
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "sidecars.lock").write_text(text)
    with pytest.raises(LockError, match=r"sidecars\.lock: "):
        read_sidecars(tmp_path)


def test_templates_of_the_projects_folder_are_locked_too(tmp_path: Path, server: RegistryServer) -> None:
    digest = push(server)
    image = f"{server.host}/team/flyte-build-check:v1"
    (tmp_path / "pyproject.toml").write_text('[tool.flyte-build]\npod-templates = "k8s"\n')
    (tmp_path / "k8s").mkdir()
    (tmp_path / "k8s" / "team.yaml").write_text(
        "kind: PodTemplate\nmetadata: {name: team}\ntemplate: {spec: {containers: "
        f"[{{name: primary, image: ignored}}, {{name: proxy, image: {image}}}]}}}}\n"
    )
    (tmp_path / "main.py").write_text(
        "import flyte\nenv = flyte.TaskEnvironment(name='env', pod_template='team')\n\n"
        "@env.task\ndef main() -> int:\n    return 1\n"
    )
    workspace = Workspace(load(tmp_path / "main.py", tmp_path), tmp_path / "lockfiles")
    environments = list(workspace.project.environments.values())
    shelf = read_shelf(tmp_path / "k8s")
    with pytest.raises(LockError, match=r"env\.main: container proxy: .*flyte-build-check:v1"):
        here(workspace, environments, shelf)
    resolved(workspace, environments, anew=False).written(workspace.lockfiles)
    assert {name: str(found) for name, found in here(workspace, environments, shelf).items()} == {
        image: f"{image}@{digest}"
    }


def test_an_image_is_brought_once(tmp_path: Path, server: RegistryServer) -> None:
    digest = push(server)
    reference = Reference.parse(f"{server.host}/team/flyte-build-check:v1").with_digest(digest)
    store = Store(tmp_path / "store")
    found = bring(store, {"proxy:1": reference}, Settings(), Silent())
    manifest = json.loads(store.document(found["proxy:1"]) or b"{}")
    assert all(store.blob(x["digest"], x["size"]) for x in (manifest["config"], *manifest["layers"]))
    asked = len(server.requests)
    assert bring(store, {"proxy:1": reference}, Settings(), Silent()) == found
    assert len(server.requests) == asked


def test_an_image_of_its_own_for_the_primary_container_is_refused(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        MAIN.replace('name="primary")', 'name="primary", image="own/image:latest")').replace("{zeros}", "0" * 64)
    )
    project = load(tmp_path / "main.py", tmp_path)
    with pytest.raises(RefusedError, match=r"env\.main: its pod template runs `own/image:latest` instead of"):
        refuse_own_images(takers(project.tasks))


APP = """
import flyte
import flyte.app
from kubernetes.client import V1Container, V1PodSpec

template = flyte.PodTemplate(primary_container_name="app", pod_spec=V1PodSpec(containers=[
    V1Container(name="app"{more}), V1Container(name="proxy", image="{host}/team/flyte-build-check:v1")]))
front = flyte.app.AppEnvironment(name="front", args=["serve"], pod_template=template)
back = flyte.app.AppEnvironment(name="back", args=["serve"], pod_template="team")
env = flyte.TaskEnvironment(name="env", depends_on=[front, back])

@env.task
def main() -> int:
    return 1
"""


def test_what_apps_take_is_locked_as_what_tasks_do(tmp_path: Path, server: RegistryServer) -> None:
    digest, image = push(server), f"{server.host}/team/flyte-build-check:v1"
    (tmp_path / "pyproject.toml").write_text('[tool.flyte-build]\npod-templates = "k8s"\n')
    (tmp_path / "k8s").mkdir()
    (tmp_path / "k8s" / "team.yaml").write_text(
        "kind: PodTemplate\nmetadata: {name: team}\ntemplate: {spec: {initContainers: "
        "[{name: first, image: 'known:1'}]}}\n"
    )
    (tmp_path / "main.py").write_text(APP.replace("{host}", server.host).replace("{more}", ""))
    workspace = Workspace(load(tmp_path / "main.py", tmp_path), tmp_path / "lockfiles")
    every = workspace.project.environments
    with pytest.raises(LockError, match=r"app front: container proxy: .*\n  app back: container first: known:1"):
        pinned(workspace, [every["front"], every["back"]])
    write_sidecars(workspace.lockfiles, {"known:1": "sha256:" + "1" * 64})
    found = resolved(workspace, list(every.values()), anew=False)
    assert found.written(workspace.lockfiles) == [f"{image} of a pod template is {digest}"]
    assert json.loads(pinned(workspace, [every["front"]])[SIDECARS]) == {image: f"{image}@{digest}"}
    told = json.loads(pinned(workspace, list(every.values()))[SIDECARS])
    assert told.keys() == {image, "known:1"}
    assert resolved(workspace, [every["env"]], anew=True).images == found.images, "what apps take stays"
    assert here(workspace, list(every.values()), read_shelf(tmp_path / "k8s")) == {}, "here apps have no pods"
    refuse_own_images(takers((), every.values()))


def test_an_image_of_its_own_for_an_apps_container_is_refused(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(APP.replace("{more}", ', image="own/image:latest"'))
    project = load(tmp_path / "main.py", tmp_path)
    with pytest.raises(RefusedError, match=r"app front: its pod template runs `own/image:latest` instead of"):
        refuse_own_images(takers(project.tasks, project.environments.values()))
    bench = flyte_build.open(tmp_path / "main.py")
    with pytest.raises(RefusedError, match="app front: its pod template runs"):
        pushed_for(bench, list(bench.environments.values()), Settings(), locked=False, check=True)
    assert not list(tmp_path.glob("lockfiles/*")), "before anything is locked"
