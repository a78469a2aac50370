"""Ridge regression by article group."""

import flyte
from platform_images import models

env = flyte.TaskEnvironment(name="training-linear", image=models)


@env.task
def linear(day: str) -> str:
    """Ridge regression by article group, for one day."""
    import sklearn

    return f"training.linear of {day}: {sklearn.__name__}"
