"""Sales of the weeks before."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="features-lags", image=frames)


@env.task
def lags(day: str) -> str:
    """Sales of the weeks before, for one day."""
    import pandas

    return f"features.lags of {day}: {pandas.__name__}"
