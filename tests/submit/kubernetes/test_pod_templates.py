"""Pod templates: containers besides the task's own, and templates that the cluster has by name."""

from __future__ import annotations

import flyte
import pytest
from kubernetes.client import V1Container

from flyte_build.submit.kubernetes.errors import Unplaceable

from .test_pod import SIDE, made, spec_of, template


@pytest.mark.parametrize("image", ["docker.io/busybox", "docker.io/busybox:1", None])
def test_a_sidecar_by_tag_is_refused(image: str | None) -> None:
    with pytest.raises(Unplaceable, match=r"takes container side from .*, expected one by digest"):
        made(spec_of(pod_template=template(V1Container(name="side", image=image))))
    init = [V1Container(name="init", image=image)]
    with pytest.raises(Unplaceable, match="takes container init from"):
        made(spec_of(pod_template=template(init_containers=init)))


def test_a_named_template_is_below_what_the_task_says() -> None:
    named = {
        "metadata": {"labels": {"cost": "all", "from": "named"}},
        "spec": {
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "nodeSelector": {"pool": "ml"},
            "containers": [
                {"name": "default", "imagePullPolicy": "Always", "env": [{"name": "BOTH", "value": "d"}]},
                {"name": "primary", "volumeMounts": [{"name": "d", "mountPath": "/d"}]},
                {"name": "proxy", "image": SIDE},
            ],
        },
    }
    spec = spec_of(pod_template="team-gpu", resources=flyte.Resources(gpu="T4:1"), env_vars={"BOTH": "task"})
    found = made(spec, template=named)["spec"]["template"]
    primary, proxy = found["spec"]["containers"]
    assert (primary["imagePullPolicy"], primary["volumeMounts"]) == ("Always", [{"name": "d", "mountPath": "/d"}])
    assert {"name": "BOTH", "value": "task"} in primary["env"]
    assert {"name": "BOTH", "value": "d"} not in primary["env"]
    assert proxy == {"name": "proxy", "image": SIDE}
    assert found["spec"]["nodeSelector"] == {"pool": "ml"}
    assert [t["key"] for t in found["spec"]["tolerations"]][:2] == ["a", "nvidia.com/gpu"]
    assert found["metadata"]["labels"]["from"] == "named"
