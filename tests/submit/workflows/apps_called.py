"""A task with apps that is called by name."""

from __future__ import annotations

import urllib.request

import flyte
import flyte.app

IMAGE = flyte.Image.from_base("registry.example/apps@sha256:" + "6" * 64)
front = flyte.app.AppEnvironment(name="front", image=IMAGE, port=18762)
back = flyte.app.AppEnvironment(name="back", image=IMAGE, port=18763)
env = flyte.TaskEnvironment(name="called", image=IMAGE, depends_on=[front, back])


@env.task
async def ask() -> list[str]:
    return await again()


@env.task
async def again() -> list[str]:
    return [urllib.request.urlopen(app.endpoint).read().decode() for app in (front, back)]
