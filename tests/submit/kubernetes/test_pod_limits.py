"""What a target and the lock say of a pod: the most that it may ask for, and which images its other containers are."""

from __future__ import annotations

import json
from pathlib import Path

import flyte
import pytest
from kubernetes.client import V1Container, V1PodSpec

from flyte_build.submit.action import LaunchRequest
from flyte_build.submit.kubernetes.errors import Unplaceable
from flyte_build.submit.kubernetes.pod import SIDECARS, Place, job

from .test_pod import DIGEST, IMAGE, made, spec_of


def test_other_containers_are_what_the_lock_says_and_nobody_else_hears_of_it() -> None:
    proxy, first = V1Container(name="proxy", image="proxy:1.2"), V1Container(name="first", image="busybox")
    spec = spec_of(
        pod_template=flyte.PodTemplate(pod_spec=V1PodSpec(containers=[proxy, V1Container(name="primary")],
                                                          init_containers=[first]))
    )  # fmt: skip
    with pytest.raises(Unplaceable, match=r"takes container first from busybox, expected one by digest") as e:
        made(spec)
    assert str(e.value.hint).startswith("`flyte-build lock` pins those of templates in the code")
    pins = {"proxy:1.2": f"docker.io/library/proxy:1.2@{DIGEST}", "busybox": f"docker.io/library/busybox@{DIGEST}"}
    request = LaunchRequest(
        "r", "a", 1, "t", DIGEST, (), {SIDECARS: json.dumps(pins), "KEPT": "1"}, Path("/dev/null"), task_spec=spec
    )
    pod = job(request, IMAGE, Place("team"))["spec"]["template"]["spec"]
    assert [c["image"] for c in pod["initContainers"]] == [pins["busybox"]]
    main = next(c for c in pod["containers"] if c["name"] == "primary")
    assert {c["name"]: c["image"] for c in pod["containers"]} == {"proxy": pins["proxy:1.2"], "primary": IMAGE}
    assert [v["name"] for v in main["env"]] == ["KEPT"]


def test_a_target_has_the_most_that_one_attempt_may_ask_for() -> None:
    spec = spec_of(resources=flyte.Resources(gpu=8, memory="64Gi"))
    made(spec, Place("team", quotas={"nvidia.com/gpu": "8", "memory": "64Gi", "amd.com/gpu": "1"}))
    with pytest.raises(Unplaceable, match=r"asks for more nvidia\.com/gpu than the target's quota of 4") as e:
        made(spec, Place("team", quotas={"nvidia.com/gpu": "4"}))
    assert e.value.hint == "ask for less, or raise `quotas` of the target"
