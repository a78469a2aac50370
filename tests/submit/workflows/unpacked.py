"""What lies in an action's folder when its task begins."""

from __future__ import annotations

import os

import flyte

env = flyte.TaskEnvironment(name="leaf")


@env.task
def listed() -> list[str]:
    found = []
    for folder, folders, files in os.walk("."):
        for name in sorted([*folders, *files]):
            told = os.lstat(f"{folder}/{name}")
            when = int(told.st_mtime) if name.endswith(".py") else 0  # all else is of now
            found.append(f"{folder}/{name} {told.st_mode:o} {told.st_size} {when}")
    return sorted(found)
