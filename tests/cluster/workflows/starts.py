"""A task that starts a run and calls a task by name: in the image that the example's lock of `msa_env` has."""

import flyte
import flyte.remote

env = flyte.TaskEnvironment(
    name="msa_env",
    image=flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("pytest"),
)


@env.task
async def double(x: int) -> int:
    return 2 * x


@env.task
async def main() -> list[str]:
    """What a child run and a deployed task give, together and each for itself."""
    shout = flyte.remote.Task.get("msa_env.shout", auto_version="latest")
    own = await flyte.with_runcontext(name="doubled").run.aio(double, x=21)
    other = await flyte.with_runcontext(env_vars={"END": "?"}).run.aio(shout, word="what")
    said = [await shout(word="hello")]
    return said + [str((await run.outputs.aio())[0]) for run in (own, other)]
