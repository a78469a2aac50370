"""What the SDK's arguments and methods were called before, and in the first Flyte → what they are called today. Pure.

Asked once the SDK has refused a name, so that a name which a later SDK takes again is never in the way.
"""

from __future__ import annotations

import re

__all__ = ["todays_name"]

_ARGUMENT = re.compile(r"^(\w+(?:\.\w+)?)\(\) got an unexpected keyword argument '(\w+)'")
_ATTRIBUTE = re.compile(r"has no attribute '(\w+)'$")

_OF_ENVIRONMENTS = {
    "env": "variables are `env_vars={…}`",
    "environment": "variables are `env_vars={…}`",
    "python": "the image has the Python: `image=flyte.Image.from_debian_base(python_version=(3, 12))`",
    "task_queue": "it is called `queue` today",
    "packages": "the image has the packages: `image=flyte.Image.from_debian_base().with_pip_packages(…)`",
    "container_image": "it is called `image` today",
    "requests": "requests and limits are one: `resources=flyte.Resources(cpu=…, memory=…)`, a pair for a range",
    "limits": "requests and limits are one: `resources=flyte.Resources(cpu=…, memory=…)`, a pair for a range",
    "secret_requests": "it is called `secrets` today: `secrets=flyte.Secret(key=…, as_env_var=…)`",
}
_RESOURCES = (
    "it is an environment's: `flyte.TaskEnvironment(…, resources=…)`, or `task.override(resources=…)` for one call"
)
_OF_TASKS = {
    **dict.fromkeys(("resources", "requests", "limits"), _RESOURCES),
    **{name: f"it is an environment's: `flyte.TaskEnvironment(…, {today}=…)`" for name, today in (
        ("image", "image"), ("container_image", "image"), ("env", "env_vars"), ("environment", "env_vars"),
        ("env_vars", "env_vars"), ("secrets", "secrets"), ("secret_requests", "secrets"), ("task_queue", "queue"),
    )},
    "cache_version": 'cache and version are one: `cache=flyte.Cache(behavior="override", version_override=…)`',
}  # fmt: skip
_ATTRIBUTES = {
    "with_overrides": "it is called `override` today: `task.override(resources=…)(…)`",
    "map_task": "it is `flyte.map(task, items)` today",
    "workflow": "a workflow is a task that calls tasks today: `@env.task`",
    "dynamic": "a task may call tasks in loops and branches today: `@env.task`",
    "task": "a task belongs to an environment today: `env = flyte.TaskEnvironment(…)`, then `@env.task`",
    "ImageSpec": "it is `flyte.Image` today: `flyte.Image.from_debian_base().with_pip_packages(…)`",
}


def todays_name(error: BaseException) -> str | None:
    """What to write instead of the name that ``error`` is about; ``None`` where that is not known."""
    words = str(error)
    if isinstance(error, TypeError) and (found := _ARGUMENT.match(words)):
        owner, name = found[1], found[2]
        if owner.endswith("Environment.__init__"):
            return _said(name, _OF_ENVIRONMENTS)
        if owner.endswith(("Environment.task", ".task")):
            return _said(name, _OF_TASKS)
        if owner == "Resources.__init__" and name in ("mem", "ephemeral_storage", "storage"):
            return f"`{name}`: it is called `{'memory' if name == 'mem' else 'disk'}` today"
    if isinstance(error, AttributeError) and (found := _ATTRIBUTE.search(words)):
        ours = "flyte" in words or "TaskTemplate" in words
        return _said(found[1], _ATTRIBUTES) if ours else None
    if isinstance(error, ValueError) and words.startswith("gpu must be one of") and re.search(r"got \d+$", words):
        return 'a number of any GPUs is a number today, `gpu=1`; a text names the kind, too: `gpu="A100:1"`'
    return None


def _said(name: str, known: dict[str, str]) -> str | None:
    return f"`{name}`: {known[name]}" if name in known else None
