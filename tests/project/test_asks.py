"""What environments and tasks ask of a machine, in words."""

from __future__ import annotations

from typing import Any

import flyte
import pytest

from flyte_build.project.asks import asks_of, task_asks
from flyte_build.project.nouns import Asks


def environment(**more: Any) -> flyte.TaskEnvironment:
    return flyte.TaskEnvironment("env", **more)


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (None, ""),
        (flyte.Resources(), ""),
        (flyte.Resources(cpu=1, memory="300Mi"), "cpu 1, memory 300Mi"),
        (flyte.Resources(cpu=(1, 2), disk="10Gi", shm="auto"), "cpu 1–2, disk 10Gi, shm auto"),
        (flyte.Resources(gpu=2), "2"),
        (flyte.Resources(cpu="500m", gpu="A100:2"), "cpu 500m · A100:2"),
        (flyte.Resources(gpu=flyte.GPU("A100", 1, partition="1g.5gb")), "A100:1 1g.5gb"),
    ],
)
def test_resources(resources: Any, words: str) -> None:
    assert str(asks_of(environment(resources=resources))) == words


def test_reuse_and_a_queue() -> None:
    policy = flyte.ReusePolicy(replicas=(2, 5), concurrency=10)
    found = asks_of(environment(reusable=policy, queue="slow"))
    assert str(found) == "reused 2–5 × 10 · queue slow"
    assert found.to_json() == {
        "resources": {},
        "accelerator": None,
        "reuse": {"replicas": [2, 5], "concurrency": 10},
        "queue": "slow",
    }
    assert str(asks_of(environment(reusable=flyte.ReusePolicy(replicas=3)))) == "reused 3 × 1"


def test_a_task_is_told_where_it_says_otherwise() -> None:
    env = environment(resources=flyte.Resources(cpu=1), queue="slow")

    @env.task
    async def same() -> None: ...

    @env.task(queue="fast")
    async def other() -> None: ...

    own = asks_of(env)
    assert task_asks(same, own) is None
    assert task_asks(other, own) == Asks({"cpu": "1"}, queue="fast")
