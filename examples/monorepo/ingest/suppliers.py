"""Delivery times as the suppliers report them."""

import flyte
from platform_images import web

env = flyte.TaskEnvironment(name="ingest-suppliers", image=web)


@env.task
def suppliers(day: str) -> str:
    """Delivery times as the suppliers report them, for one day."""
    import httpx

    return f"ingest.suppliers of {day}: {httpx.__name__}"
