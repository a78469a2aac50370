"""One task that calls many: in the image that the example's lock of `msa_env` has."""

import asyncio

import flyte

env = flyte.TaskEnvironment(
    name="msa_env",
    image=flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("pytest"),
)


@env.task
async def square(x: int) -> int:
    """`x` times `x`."""
    print("square of", x)
    return x * x


@env.task
async def main(count: int) -> int:
    """The sum of the first squares."""
    return sum(await asyncio.gather(*(square(x) for x in range(count))))
