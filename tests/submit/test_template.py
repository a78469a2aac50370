"""Reading and completing the SDK's ``TaskSpec``."""

from __future__ import annotations

import base64
import gzip
import json
from decimal import Decimal
from typing import Any

import pytest
from flyteidl2.core import literals_pb2, security_pb2, tasks_pb2
from flyteidl2.task import task_definition_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict

from flyte_build.submit.action import Resources, ReusePolicy, SecretRef
from flyte_build.submit.template import Backoff, Unsupported, pin_root, quantity, read_task

ARGS = ["a0", "--inputs", "{{.input}}", "--tgz", "/host/x.tgz", "--resolver", "r", "--image-cache"]


def spec_of(**fields: Any) -> task_definition_pb2.TaskSpec:
    spec = task_definition_pb2.TaskSpec()
    ParseDict(
        {"taskTemplate": {"id": {"name": "env.task"}, "container": {"image": "i", "args": ARGS[:7]}} | fields}, spec
    )
    return spec


POD = {
    "k8sPod": {
        "podSpec": {
            "containers": [
                {"name": "sidecar", "image": "other", "args": ["sleep"]},
                {
                    "name": "main",
                    "image": "i",
                    "args": ARGS[:7],
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {}}],
                    "resources": {
                        "requests": {"cpu": "1"},
                        "limits": {"memory": "1Gi", "nvidia.com/gpu": 2, "ephemeral-storage": "3G"},
                    },
                },
            ]
        }
    },
    "config": {"primary_container_name": "main"},
}


def test_a_containers_fields() -> None:
    spec = spec_of()
    container = spec.task_template.container
    container.env.append(literals_pb2.KeyValuePair(key="A", value="1"))
    names = tasks_pb2.Resources
    container.resources.requests.append(names.ResourceEntry(name=names.CPU, value="500m"))
    container.resources.limits.append(names.ResourceEntry(name=names.MEMORY, value="2Gi"))
    container.resources.limits.append(names.ResourceEntry(name=names.GPU, value="1"))
    container.resources.requests.append(names.ResourceEntry(name=names.EPHEMERAL_STORAGE, value="10Gi"))
    spec.task_template.extended_resources.shared_memory.size_limit = "64Mi"
    md = spec.task_template.metadata
    md.retries.retries = 3
    md.retries.backoff.base.FromSeconds(2)
    md.timeout.FromSeconds(60)
    task = read_task(spec)
    assert (task.name, task.environment, task.image, task.env) == ("env.task", "env", "i", {"A": "1"})
    assert task.resources == Resources(0.5, 2 << 30, 64 << 20, "gpu: 1", 10 << 30, gpus=1)
    assert (task.retries, task.backoff, task.timeout, task.deadline) == (3, Backoff(2.0, 1.0, None), 60.0, None)
    assert task.has_outputs is False


def test_a_pods_primary_container_is_the_task() -> None:
    fields = dict(POD)
    spec = task_definition_pb2.TaskSpec()
    ParseDict({"taskTemplate": {"id": {"name": "env.task"}} | fields}, spec)
    task = read_task(spec)
    assert (task.image, task.args[0], task.env) == ("i", "a0", {"A": "1"})
    assert task.resources == Resources(1.0, 1 << 30, None, "nvidia.com/gpu: 2", 3 * 10**9, gpus=2)
    pinned = read_task(pin_root(spec.SerializeToString(), {"env": "pinned@sha256:aa"}, "env", "/b.tgz"))
    assert pinned.image == "pinned@sha256:aa"
    assert pinned.args[pinned.args.index("--tgz") + 1] == "/b.tgz"


def test_the_root_is_pinned_and_tells_its_children_every_image() -> None:
    images = {"env": "local/env@sha256:aa", "other": "local/other@sha256:bb"}
    spec = pin_root(spec_of().SerializeToString(), images, "env", "/mnt/flyte/bundles/x.tgz")
    args = list(spec.task_template.container.args)
    assert spec.task_template.container.image == images["env"]
    told = json.loads(gzip.decompress(base64.b64decode(args[args.index("--image-cache") + 1])))
    assert told["image_lookup"] == images
    assert args[args.index("--tgz") + 1] == "/mnt/flyte/bundles/x.tgz"
    assert args.index("--image-cache") < args.index("--resolver")
    assert args[0] == "a0"
    assert pin_root(spec.SerializeToString(), images, "env", "/mnt/flyte/bundles/x.tgz") == spec  # and once is enough


def test_placeholders_are_filled_in_and_values_are_not_read_again() -> None:
    spec = spec_of()
    spec.task_template.container.args[:] = ["a0", "x={{.input}}:{{ .runName }}", "{{.unknown}}"]
    args = read_task(spec).render({"input": "{{.runName}}", "runName": "r"})
    assert args == ("a0", "x={{.runName}}:r", "{{.unknown}}")


def test_secrets_keep_their_form() -> None:
    spec = spec_of()
    kinds = security_pb2.Secret
    spec.task_template.security_context.secrets.extend(
        [
            kinds(key="k", group="g", mount_requirement=kinds.ENV_VAR, env_var="G_K"),
            kinds(key="f", mount_requirement=kinds.FILE),
        ]
    )
    assert read_task(spec).secrets == (SecretRef("k", "g", "G_K"), SecretRef("f", "", None))


@pytest.mark.parametrize("args", [[], ["sh", "-c", "x"], ["clustered", "a0"]])
def test_what_the_stock_runtime_does_not_run_is_refused(args: list[str]) -> None:
    spec = spec_of()
    spec.task_template.container.args[:] = args
    with pytest.raises(Unsupported, match=r"task env\.task"):
        read_task(spec)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("500m", "0.5"), ("1.5", "1.5"), ("2Gi", 2 << 30), ("2G", 2 * 10**9), ("1e3", 1000), ("1k", 1000)],
)
def test_quantities_are_kubernetes_own(text: str, value: str | int) -> None:
    assert quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "lots", "1GB", "1.2.3", "-1", "1 Gi"])
def test_other_quantities_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a quantity such as"):
        quantity(text)


def test_backoff_without_a_cap_is_an_hour_at_most() -> None:
    assert [Backoff(1.0, 2.0).delay(n) for n in (0, 1, 5, 5000)] == [1.0, 2.0, 32.0, 3600.0]
    assert Backoff(10.0, 3.0, 12.0).delay(1) == 12.0


def test_times_come_in_seconds() -> None:
    spec = spec_of()
    spec.task_template.metadata.timeouts.deadline.CopyFrom(Duration(seconds=90))
    spec.task_template.metadata.timeouts.queued_timeout.CopyFrom(Duration(nanos=5 * 10**8))
    task = read_task(spec)
    assert (task.deadline, task.queue_timeout, task.cache_max_age, task.timeout) == (90.0, 0.5, None, None)


def test_a_field_that_the_sdks_interface_lacks_is_not_set() -> None:
    """``cache_max_age`` came to flyteidl2 later than the oldest version that works."""
    spec = spec_of()
    known = "cache_max_age" in spec.task_template.metadata.DESCRIPTOR.fields_by_name
    if known:
        spec.task_template.metadata.cache_max_age.CopyFrom(Duration(seconds=3))
    assert read_task(spec).cache_max_age == (3.0 if known else None)


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        (
            {
                "parallelism": 10,
                "min_replica_count": 2,
                "replica_count": 5,
                "ttl_seconds": 60,
                "scaledown_ttl_seconds": 9,
            },
            ReusePolicy(2, 5, 10, 60.0, 9.0),
        ),
        ({"parallelism": 1, "min_replica_count": 3, "replica_count": 1, "ttl_seconds": None}, ReusePolicy(1, 1)),
        ({"ttl_seconds": 1e300, "scaledown_ttl_seconds": -1}, ReusePolicy(0, 1, 1, 2_592_000.0, 2_592_000.0)),
    ],
)
def test_a_reusable_environments_policy(spec: dict[str, Any], policy: ReusePolicy) -> None:
    assert read_task(spec_of(type="actor", custom={"spec": spec})).reuse == policy
    assert read_task(spec_of(custom={"spec": spec})).reuse is None


@pytest.mark.parametrize("spec", [{"replica_count": "many"}, ["x"], "x", {"ttl_seconds": [1]}])
def test_what_is_no_policy_is_no_task(spec: Any) -> None:
    """A task can enqueue anything; the engine takes these errors for what they are."""
    with pytest.raises((ValueError, TypeError, AttributeError)):
        read_task(spec_of(type="actor", custom={"spec": spec}))


@pytest.mark.parametrize(
    ("gpu", "device", "said"), [("2", "nvidia-tesla-a100", "nvidia-tesla-a100: 2"), ("1", "", "gpu: 1"), ("", "", None)]
)
def test_an_accelerator_is_named_with_its_count(gpu: str, device: str, said: str | None) -> None:
    asked = spec_of()
    if gpu:
        asked.task_template.container.resources.requests.add(name=tasks_pb2.Resources.GPU, value=gpu)
    if device:
        asked.task_template.extended_resources.gpu_accelerator.device = device
    assert read_task(asked).resources.accelerator == said


@pytest.mark.parametrize(
    ("kind", "partition", "found"),
    [(0, "", (2, False)), (0, "1g.10gb", (2, True)), (3, "", (0, False)), (1, "2x2", (0, True))],
)
def test_devices_of_nvidias_are_counted(kind: int, partition: str, found: tuple[int, bool]) -> None:
    asked = spec_of()
    asked.task_template.container.resources.requests.add(name=tasks_pb2.Resources.GPU, value="2")
    told = asked.task_template.extended_resources.gpu_accelerator
    told.device = "X"
    told.device_class = kind  # type: ignore[assignment]
    if partition:
        told.partition_size = partition
    resources = read_task(asked).resources
    assert (resources.gpus, resources.partition) == found


@pytest.mark.parametrize(
    ("resource", "found"),
    [
        ("nvidia.com/gpu", (1, False)),
        ("nvidia.com/mig-1g.10gb", (1, True)),
        ("amd.com/gpu", (0, False)),
        ("google.com/tpu", (0, False)),
    ],
)
def test_a_pods_devices_are_counted_by_their_makers_name(resource: str, found: tuple[int, bool]) -> None:
    container = {"name": "primary", "image": "i", "args": ["a0"], "resources": {"limits": {resource: 1}}}
    spec = task_definition_pb2.TaskSpec()
    fields = {"k8sPod": {"podSpec": {"containers": [container]}}}
    ParseDict({"taskTemplate": {"id": {"name": "env.task"}} | fields}, spec)
    resources = read_task(spec).resources
    assert (resources.gpus, resources.partition) == found
