"""Croston's method for what sells rarely."""

import flyte
from platform_images import models

env = flyte.TaskEnvironment(name="training-intermittent", image=models.with_pip_packages("statsmodels"))


@env.task
def intermittent(day: str) -> str:
    """Croston's method for what sells rarely, for one day."""
    import statsmodels

    return f"training.intermittent of {day}: {statsmodels.__name__}"
