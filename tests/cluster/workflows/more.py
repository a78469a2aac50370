"""What a run has to do besides calling tasks, in the image that the example's lock of `msa_env` has."""

import asyncio
import os

import flyte
import flyte.report
from flyte.io import File

env = flyte.TaskEnvironment(
    name="msa_env",
    image=flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("pytest"),
    secrets=[flyte.Secret(key="word", as_env_var="WORD")],
)


@env.task(cache=flyte.Cache("override", version_override="1"))
async def double(x: int) -> int:
    """Twice `x`, once for all runs."""
    return 2 * x


@env.task(retries=2)
async def flaky() -> str:
    """Fails at first."""
    if os.environ["FLYTE_ATTEMPT_NUMBER"] == "0":
        raise RuntimeError("not yet")
    return os.environ["FLYTE_ATTEMPT_NUMBER"]


@env.task(report=True)
async def main(text: File) -> list[str]:
    """A file's words, a result that is kept, one that came late, somebody's answer, and a secret."""
    async with text.open("rb") as f:
        said = bytes(await f.read()).decode()
    print("read:", said, flush=True)
    two, tries = await asyncio.gather(double(21), flaky())
    await flyte.report.replace.aio("<p>hello</p>")
    await flyte.report.flush.aio()
    condition = await flyte.new_condition.aio("approve", prompt="Go on?", data_type=bool)
    approved = await condition.wait.aio()
    return [said, str(two), tries, str(approved), os.environ["WORD"]]
