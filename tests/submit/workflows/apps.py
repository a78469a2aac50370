"""A task that asks an app, by the SDK's endpoint."""

from __future__ import annotations

import os
import urllib.request

import flyte
import flyte.app
import flyte.remote

IMAGE = flyte.Image.from_base("registry.example/apps@sha256:" + "6" * 64)
front = flyte.app.AppEnvironment(name="front", image=IMAGE, port=18762)
back = flyte.app.AppEnvironment(name="back", image=IMAGE, port=18763)
env = flyte.TaskEnvironment(name="apps", image=IMAGE, depends_on=[front, back])


@env.task
def ask() -> list[str]:
    found = [urllib.request.urlopen(app.endpoint).read().decode() for app in (front, back)]
    return [*found, front.endpoint.rpartition(":")[0], str("front.localhost" in os.environ["NO_PROXY"])]


caller = flyte.TaskEnvironment(name="leaf", image=IMAGE, depends_on=[front])


@caller.task
async def call() -> list[str]:
    """What this task's app says, then what those of a task say that was deployed, which has one of the same name."""
    mine = urllib.request.urlopen(front.endpoint).read().decode()
    theirs = await flyte.remote.Task.get("called.ask", auto_version="latest")()
    return [mine, *theirs, urllib.request.urlopen(front.endpoint).read().decode()]
