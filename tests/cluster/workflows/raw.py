"""A container task, in an image that need know nothing of Flyte, and a task that calls it."""

import flyte
from flyte.extras import ContainerTask
from flyte.io import File

IMAGE = flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("pytest")
SCRIPT = """
test -z "$AWS_SECRET_ACCESS_KEY" || exit 4
test "$FROM" = template || exit 5
echo "this is printed"
tr a-z A-Z < /var/inputs/text > /var/outputs/loud
wc -c < /var/inputs/text > /var/outputs/size
"""
loud = ContainerTask(
    name="loud",
    image=IMAGE,
    inputs={"text": File},
    outputs={"loud": File, "size": int},
    command=["sh", "-c", SCRIPT],
    pod_template="loud",
)
containers = flyte.TaskEnvironment.from_task("msa_env", loud)
env = flyte.TaskEnvironment(
    name="fold_env",
    image=flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("ruff"),
    depends_on=[containers],
)


@env.task
async def main(text: File) -> list[str]:
    """The text in capitals, and its length."""
    shout, size = await loud(text=text)
    async with shout.open("rb") as f:
        return [bytes(await f.read()).decode(), str(size)]
