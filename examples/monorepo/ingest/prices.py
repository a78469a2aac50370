"""Price changes by article and shop."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="ingest-prices", image=frames)


@env.task
def prices(day: str) -> str:
    """Price changes by article and shop, for one day."""
    import pandas

    return f"ingest.prices of {day}: {pandas.__name__}"
