"""How far off we were, by week."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="reporting-accuracy", image=frames.with_pip_packages("matplotlib"))


@env.task
def accuracy(day: str) -> str:
    """How far off we were, by week, for one day."""
    import matplotlib

    return f"reporting.accuracy of {day}: {matplotlib.__name__}"
