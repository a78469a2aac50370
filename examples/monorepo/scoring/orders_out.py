"""Proposals to the ordering system."""

import flyte
from platform_images import web

env = flyte.TaskEnvironment(name="scoring-orders-out", image=web)


@env.task
def orders_out(day: str) -> str:
    """Proposals to the ordering system, for one day."""
    import httpx

    return f"scoring.orders_out of {day}: {httpx.__name__}"
