"""The pod of a container task, and what brings its inputs and takes its outputs."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import flyte
import obstore
import pytest
from flyte._internal.runtime.task_serde import get_proto_task
from flyte.extras import ContainerTask
from flyte.io import Dir, File
from flyte.models import SerializationContext
from flyteidl2.core import execution_pb2, literals_pb2, tasks_pb2
from flyteidl2.task import common_pb2, task_definition_pb2
from kubernetes.client import V1Container, V1EnvVar, V1PodSpec, V1Volume, V1VolumeMount
from obstore.store import MemoryStore

from flyte_build.submit.action import ImageRoot
from flyte_build.submit.kubernetes.carrying import bring_inputs, take_outputs
from flyte_build.submit.kubernetes.container_task import CARRY, Carried, Carrier
from flyte_build.submit.kubernetes.errors import Unplaceable
from flyte_build.submit.kubernetes.known import trimmed
from flyte_build.submit.kubernetes.mirror import Mirror
from flyte_build.submit.kubernetes.pod import Place, job
from flyte_build.submit.kubernetes.preflight import hopeless
from flyte_build.submit.kubernetes.sight import look
from flyte_build.submit.pods.raw import read_raw
from flyte_build.submit.storage import Storage
from flyte_build.submit.template import read_task
from tests.support.apiserver import NAMESPACE, ApiServer

from .test_pod import DIGEST, IMAGE, SIDE, request_of

TOOLS = f"registry.example/driver@{DIGEST}"
PLACE = Place(NAMESPACE, storage_secret="keys")
CARRIER = Carrier(TOOLS, "s3://bucket/base", {"region": "r"}, {"AWS_REGION": "r"}, "keys")
TOLD = {
    "task": "raw.it",
    "options": {},
    "inputs": "r1/kept/a0/inputs.pb",
    "attempt": "r1/meta/a0/1",
    "data": "r1/raw/a0/1",
}


def spec(**more: Any) -> task_definition_pb2.TaskSpec:
    said = {"command": ["run", "{{.inputs.word}}", "$(HOME)"], "inputs": {"word": str, "file": File}}
    task = ContainerTask(name="it", image=flyte.Image.from_base(IMAGE), **{**said, "outputs": {"o": int}, **more})
    flyte.TaskEnvironment.from_task("raw", task)
    context = SerializationContext(version="v1", project="p", domain="d", org="o", root_dir=Path("/"))
    return task_definition_pb2.TaskSpec(task_template=get_proto_task(task, context))


def inputs(**values: Any) -> common_pb2.Inputs:
    found = common_pb2.Inputs()
    for name, value in values.items():
        literal = literals_pb2.Literal()
        if isinstance(value, str) and "://" in value:
            literal.scalar.blob.uri = value
        else:
            literal.scalar.primitive.string_value = value
        found.literals.append(common_pb2.NamedLiteral(name=name, value=literal))
    return found


def made(carried: Carried | None = None, carrier: Carrier | None = CARRIER, **more: Any) -> dict[str, Any]:
    found = spec(**more)
    args = read_task(found).args
    request = request_of(found.SerializeToString(), args=args, env={"A": "b"}, task="raw.it")
    return job(request, IMAGE, PLACE, carrier=carrier, carried=carried)


def test_its_own_container_runs_between_two_of_ours_and_is_told_of_no_storage() -> None:
    carried = Carried(inputs(word="so", file="s3://bucket/base/x"), TOLD["inputs"], TOLD["attempt"], TOLD["data"])
    template = made(carried)["spec"]["template"]
    pod = template["spec"]
    bring, own = pod["initContainers"]
    (take,) = pod["containers"]
    assert [(c["name"], c["image"]) for c in (bring, own, take)] == [
        ("inputs", TOOLS), ("primary", IMAGE), ("outputs", TOOLS),
    ]  # fmt: skip
    assert own["args"] == ["run", "so", "$$(HOME)"], "Kubernetes would put a variable's value there"
    assert [(m["mountPath"], m.get("readOnly", False)) for m in own["volumeMounts"]] == [
        ("/var/inputs", True), ("/var/outputs", False),
    ]  # fmt: skip
    assert "envFrom" not in own
    assert "keys" not in json.dumps(own)
    for carrier in (bring, take):
        told = json.loads(next(e["value"] for e in carrier["env"] if e["name"] == CARRY))
        assert {k: told[k] for k in ("storage", "options", *TOLD)} == {
            **TOLD, "storage": "s3://bucket/base", "options": {"region": "r"},
        }  # fmt: skip
        assert carrier["envFrom"] == [{"secretRef": {"name": "keys"}}]
        assert carrier["command"][-1] == carrier["name"]
    small = tasks_pb2.TaskTemplate.FromString(base64.b64decode(told["template"]))
    assert [v.key for v in small.interface.outputs.variables] == ["o"]
    assert template["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == "primary"


def test_what_no_container_task_here_can_be_is_refused(api: ApiServer) -> None:
    with pytest.raises(Unplaceable, match="this run has no image that brings its inputs"):
        made(carrier=None)
    with pytest.raises(Unplaceable, match=r"input word of raw\.it: a value of a kind that no container task takes"):
        made(Carried(common_pb2.Inputs(literals=[common_pb2.NamedLiteral(name="word", value=literals_pb2.Literal())])))
    with pytest.raises(Unplaceable, match=r"output o of raw\.it is of a type that no container task gives here"):
        made(outputs={"o": list[int]})
    request = request_of(spec().SerializeToString(), image=IMAGE, args=("x",), task="raw.it")
    assert hopeless(api.cluster(), [request], Place(NAMESPACE)) == []


def _template(**more: Any) -> flyte.PodTemplate:
    side = V1Container(name="side", image=SIDE, volume_mounts=[V1VolumeMount(name="d", mount_path="/d")])
    first = V1Container(name="first", image=SIDE)
    own = V1Container(name="mine", working_dir="/work", env=[V1EnvVar(name="MORE", value="1")])
    spec = V1PodSpec(containers=[own, side], init_containers=[first], node_selector={"pool": "ml"}, **more)
    return flyte.PodTemplate(pod_spec=spec, primary_container_name="mine", labels={"cost": "center"})


def test_a_pod_template_is_merged_whole_and_its_other_containers_run_beside_the_tasks_own() -> None:
    carried = Carried(inputs(word="so", file="s3://bucket/base/x"), TOLD["inputs"], TOLD["attempt"], TOLD["data"])
    volume = V1Volume(name="d", empty_dir={})
    found = made(carried, pod_template=_template(volumes=[volume]))["spec"]["template"]
    pod = found["spec"]
    first, bring, side, own = pod["initContainers"]
    assert [c["name"] for c in (first, bring, side, own)] == ["first", "inputs", "side", "mine"]
    assert [c["name"] for c in pod["containers"]] == ["outputs"]
    assert [c.get("restartPolicy") for c in (first, bring, side, own)] == [None, None, "Always", None]
    assert (own["image"], own["workingDir"], own["args"]) == (IMAGE, "/work", ["run", "so", "$$(HOME)"])
    assert {"name": "MORE", "value": "1"} in own["env"]
    assert [m["mountPath"] for m in own["volumeMounts"]] == ["/var/inputs", "/var/outputs"]
    assert pod["nodeSelector"] == {"pool": "ml"}
    assert {v["name"] for v in pod["volumes"]} == {"d", "flyte-build-inputs", "flyte-build-outputs"}
    assert found["metadata"]["labels"]["cost"] == "center"
    assert found["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == "mine"
    told = json.loads(next(e["value"] for e in bring["env"] if e["name"] == CARRY))
    small = tasks_pb2.TaskTemplate.FromString(base64.b64decode(told["template"]))
    assert [v.key for v in small.interface.outputs.variables] == ["o"]


def test_a_template_of_the_cluster_is_below_what_a_container_task_says() -> None:
    named = {
        "spec": {
            "nodeSelector": {"pool": "ml"},
            "containers": [
                {"name": "primary", "workingDir": "/work", "env": [{"name": "A", "value": "named"}]},
                {"name": "side", "image": SIDE},
            ],
        }
    }
    found = spec(pod_template="team", env_vars={"A": "task"})
    args = tuple(found.task_template.container.args)
    request = request_of(found.SerializeToString(), args=args, env={}, task="raw.it")
    pod = job(
        request, IMAGE, PLACE, template=named, carrier=CARRIER, carried=Carried(inputs(word="so", file="s3://b/x"))
    )
    pod = pod["spec"]["template"]["spec"]
    bring, side, own = pod["initContainers"]
    assert (bring["name"], side["name"], own["name"], own["workingDir"]) == ("inputs", "side", "primary", "/work")
    assert [e["value"] for e in own["env"] if e["name"] == "A"] == ["task"]
    assert pod["nodeSelector"] == {"pool": "ml"}


def test_a_machine_of_no_pods_refuses_a_template_on_a_container_task(tmp_path: Path) -> None:
    image = ImageRoot(DIGEST, tmp_path, "")
    for found in (spec(pod_template=_template()), spec(pod_template="team")):
        request = request_of(found.SerializeToString(), task="raw.it")
        with pytest.raises(Unplaceable, match=r"raw\.it is a container task with a pod template, which is not here"):
            read_raw(request, image, Storage(tmp_path).run("r1"))


def test_a_container_that_is_called_as_ours_is_refused() -> None:
    template = flyte.PodTemplate(
        pod_spec=V1PodSpec(containers=[V1Container(name="primary"), V1Container(name="inputs", image=SIDE)])
    )
    with pytest.raises(Unplaceable, match=r"the pod template of raw\.it has a container called inputs"):
        made(Carried(inputs(word="so", file="s3://b/x")), pod_template=template)


def test_its_end_is_that_of_its_own_container_and_not_of_what_ran_beside() -> None:
    ends = {"mine": (3, "Error"), "side": (137, "Error"), "inputs": (0, "Completed")}
    states = [
        {"name": name, "state": {"terminated": {"exitCode": code, "reason": why}}} for name, (code, why) in ends.items()
    ]
    pod = {
        "metadata": {"name": "p", "annotations": {"kubectl.kubernetes.io/default-container": "mine"}},
        "spec": {"nodeName": "n1", "initContainers": [{"name": "side", "restartPolicy": "Always", "image": SIDE}]},
        "status": {"phase": "Failed", "initContainerStatuses": states},
    }
    found = look({"metadata": {}}, [trimmed(pod)], unscheduled=1.0)
    assert found.outcome is not None
    assert found.outcome.exit_code == 3
    states[0]["state"] = {"running": {}}
    pod["status"] = {"phase": "Pending", "initContainerStatuses": states}
    assert look({"metadata": {}}, [trimmed(pod)], unscheduled=1.0).line == "running on n1"


def test_it_runs_while_its_own_container_does() -> None:
    states = [
        {"name": "inputs", "state": {"terminated": {"exitCode": 0}}},
        {"name": "primary", "state": {"running": {}}},
    ]
    waiting = [{"name": "outputs", "state": {"waiting": {"reason": "PodInitializing"}}}]
    status = {"phase": "Pending", "initContainerStatuses": states, "containerStatuses": waiting}
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n1"}, "status": status}
    assert look({"metadata": {}}, [pod], unscheduled=1.0).line == "running on n1"
    states[1]["state"] = {"terminated": {"exitCode": 3, "reason": "Error"}}
    status["phase"] = "Failed"
    ended = look({"metadata": {}}, [pod], unscheduled=1.0)
    assert ended.outcome is not None
    assert (ended.stage, ended.outcome.exit_code) == ("ended", 3)


# -- what is carried --------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Mirror:
    return Mirror("s3://bucket/base", tmp_path / "mirror", MemoryStore())


def test_inputs_are_brought_as_files(store: Mirror, tmp_path: Path) -> None:
    given = inputs(word="so", file="s3://bucket/base/r0/raw/f.txt", folder="s3://bucket/base/r0/raw/d")
    obstore.put(store.store, TOLD["inputs"], given.SerializeToString())
    for key, text in {"f.txt": b"file", "d/one": b"1", "d/deep/two": b"2"}.items():
        obstore.put(store.store, f"r0/raw/{key}", text)
    template = spec(inputs={"word": str, "file": File, "folder": Dir}).task_template
    bring_inputs(store, TOLD, template, tmp_path)
    found = {str(p.relative_to(tmp_path)): p.read_text() for p in sorted(tmp_path.rglob("*")) if p.is_file()}
    assert json.loads(found.pop("inputs.json")) == {
        "word": "so", "file": "/var/inputs/file", "folder": "/var/inputs/folder",
    }  # fmt: skip
    assert found == {"word": "so", "file": "file", "folder/one": "1", "folder/deep/two": "2"}
    gone = inputs(file="s3://bucket/base/nowhere")
    obstore.put(store.store, TOLD["inputs"], gone.SerializeToString())
    with pytest.raises(Unplaceable, match=r"input file of raw\.it: the storage has no nowhere"):
        bring_inputs(store, TOLD, template, tmp_path)


def stored(store: Mirror, name: str) -> bytes:
    return bytes(obstore.get(store.store, f"{TOLD['attempt']}/{name}").bytes())


def test_outputs_are_taken_and_links_lead_nowhere(store: Mirror, tmp_path: Path) -> None:
    folder = tmp_path / "outputs"
    (folder / "d" / "deep").mkdir(parents=True)
    (folder / "n").write_text("7\n")
    (folder / "f").write_bytes(b"bytes")
    (folder / "d" / "deep" / "one").write_text("1")
    os.symlink("/etc/passwd", folder / "d" / "link")
    template = spec(outputs={"n": int, "f": File, "d": Dir}).task_template
    take_outputs(store, TOLD, template, folder)
    found = {v.name: v.value for v in common_pb2.Outputs.FromString(stored(store, "outputs.pb")).literals}
    assert found["n"].scalar.primitive.integer == 7
    assert found["f"].scalar.blob.uri == "s3://bucket/base/r1/raw/a0/1/f"
    keys = sorted(str(o["path"]) for page in obstore.list(store.store, prefix="r1/raw/") for o in page)
    assert keys == ["r1/raw/a0/1/d/deep/one", "r1/raw/a0/1/f"]
    assert bytes(obstore.get(store.store, "r1/raw/a0/1/f").bytes()) == b"bytes"


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ("nothing", "it left no /var/outputs/o, which is its output o"),
        ("many", "/var/outputs/o, its output o: expected integer, found 'many'"),
        ("link", "/var/outputs/o, its output o: "),
    ],
)
def test_what_is_no_output_is_the_tasks_failure(store: Mirror, tmp_path: Path, left: str, said: str) -> None:
    if left == "link":
        (tmp_path / "elsewhere").write_text("7")
        os.symlink(tmp_path / "elsewhere", tmp_path / "o")
    elif left != "nothing":
        (tmp_path / "o").write_text(left)
    take_outputs(store, TOLD, spec().task_template, tmp_path)
    error = execution_pb2.ErrorDocument.FromString(stored(store, "error.pb")).error
    assert (error.code, error.origin) == ("BadOutputs", execution_pb2.ExecutionError.USER)
    assert said in error.message
