"""Counted stock, with the counting errors left in."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="ingest-stock", image=frames)


@env.task
def stock(day: str) -> str:
    """Counted stock, with the counting errors left in, for one day."""
    import pandas

    return f"ingest.stock of {day}: {pandas.__name__}"
