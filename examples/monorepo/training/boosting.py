"""Gradient boosting over all features."""

import flyte
from platform_images import models

env = flyte.TaskEnvironment(name="training-boosting", image=models.with_pip_packages("lightgbm"))


@env.task
def boosting(day: str) -> str:
    """Gradient boosting over all features, for one day."""
    import lightgbm

    return f"training.boosting of {day}: {lightgbm.__name__}"
