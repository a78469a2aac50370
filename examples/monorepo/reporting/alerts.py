"""A message when something is wrong."""

import flyte
from platform_images import web

env = flyte.TaskEnvironment(name="reporting-alerts", image=web)


@env.task
def alerts(day: str) -> str:
    """A message when something is wrong, for one day."""
    import httpx

    return f"reporting.alerts of {day}: {httpx.__name__}"
