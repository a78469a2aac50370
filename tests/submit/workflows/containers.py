"""Container tasks, and a task that calls them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import flyte
from flyte.extras import ContainerTask
from flyte.io import Dir, File

IMAGE = flyte.Image.from_base("registry.example/tools@sha256:" + "9" * 64)
SCRIPT = """
set -e
cd /var/inputs
echo "$0 $1 $(cat word) $(cat number) $(cat flag) $(cat wait)" > /var/outputs/said
cat number > /var/outputs/number
echo " true " > /var/outputs/flag
cat wait > /var/outputs/wait
cat document inputs.json > /var/outputs/document
mkdir /var/outputs/folder
cp folder/part /var/outputs/folder/copy
"""
every = ContainerTask(
    name="every",
    image=IMAGE,
    inputs={"word": str, "number": int, "flag": bool, "wait": timedelta, "document": File, "folder": Dir},
    outputs={"said": str, "number": int, "flag": bool, "wait": timedelta, "document": File, "folder": Dir},
    command=["sh", "-c", SCRIPT, "{{.inputs.word}}-{{.inputs.number}}"],
    arguments=["{{.inputs.flag}}"],
)
silent = ContainerTask(name="silent", image=IMAGE, outputs={"o": int}, command=["sh", "-c", "true"])
wrong = ContainerTask(name="wrong", image=IMAGE, outputs={"o": int}, command=["sh", "-c", "echo many > /var/outputs/o"])
failing = ContainerTask(name="failing", image=IMAGE, command=["sh", "-c", "echo no such luck; exit 3"])
containers = flyte.TaskEnvironment.from_task("containers", every, silent, wrong, failing)
env = flyte.TaskEnvironment(
    name="leaf", image=flyte.Image.from_base("registry.example/x@sha256:" + "6" * 64), depends_on=[containers]
)


@env.task
async def main() -> list[str]:
    Path("own").mkdir()
    Path("own/part").write_text("a part")
    Path("document").write_text("a document\n")
    document, folder = await File.from_local("document"), await Dir.from_local("own")
    said, number, flag, wait, document, folder = await every(
        word="so", number=7, flag=True, wait=timedelta(seconds=90), document=document, folder=folder
    )
    async with document.open("rb") as f:
        text = bytes(await f.read()).decode()
    parts = [Path(await one.download()).read_text() async for one in folder.walk()]
    return [said, str(number + 1), str(flag), str(wait), text, *parts]


@env.task
async def no_output() -> int:
    return await silent()


@env.task
async def bad_output() -> int:
    return await wrong()


@env.task
async def fails() -> None:
    await failing()
