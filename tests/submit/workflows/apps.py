"""A task that asks an app, by the SDK's endpoint."""

from __future__ import annotations

import os
import urllib.request

import flyte
import flyte.app

IMAGE = flyte.Image.from_base("registry.example/apps@sha256:" + "6" * 64)
front = flyte.app.AppEnvironment(name="front", image=IMAGE, port=18762)
back = flyte.app.AppEnvironment(name="back", image=IMAGE, port=18763)
env = flyte.TaskEnvironment(name="apps", image=IMAGE, depends_on=[front, back])


@env.task
def ask() -> list[str]:
    found = [urllib.request.urlopen(app.endpoint).read().decode() for app in (front, back)]
    return [*found, front.endpoint.rpartition(":")[0], str("front.localhost" in os.environ["NO_PROXY"])]
