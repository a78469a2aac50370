"""A task that other files call by name, once it is deployed: in the image that the example's lock of `msa_env` has."""

import os

import flyte

env = flyte.TaskEnvironment(
    name="msa_env",
    image=flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("pytest"),
)


@env.task
async def shout(word: str) -> str:
    """The word, louder."""
    return word.upper() + os.environ.get("END", "!")
