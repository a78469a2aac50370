"""Yesterday's orders of every shop."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="ingest-orders", image=frames)


@env.task
def orders(day: str) -> str:
    """Yesterday's orders of every shop, for one day."""
    import pandas

    return f"ingest.orders of {day}: {pandas.__name__}"
