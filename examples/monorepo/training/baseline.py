"""The same day of last week: what every model has to beat."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="training-baseline", image=frames)


@env.task
def baseline(day: str) -> str:
    """The same day of last week: what every model has to beat, for one day."""
    import pandas

    return f"training.baseline of {day}: {pandas.__name__}"
