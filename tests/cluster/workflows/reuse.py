"""A reusable environment, parent and children in it: in the image that the example's lock of `msa_env` has."""

import asyncio
import os

import flyte

env = flyte.TaskEnvironment(
    name="msa_env",
    image=flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("pytest"),
    reusable=flyte.ReusePolicy(replicas=1, concurrency=4),
)

STARTED = os.urandom(4).hex()
COUNT = [0]


@env.task
async def child(x: int) -> str:
    """Which process it was in, once the others are there."""
    print("child", x)
    COUNT[0] += 1
    while COUNT[0] < 3:
        await asyncio.sleep(0.01)
    return STARTED


@env.task
async def main() -> list[str]:
    """The processes of its children, and its own once somebody said so."""
    found = await asyncio.gather(*(child(x) for x in range(3)))
    print("parent waits", flush=True)
    condition = await flyte.new_condition.aio("go", prompt="Go on?", data_type=bool)
    await condition.wait.aio()
    return [*found, STARTED]
