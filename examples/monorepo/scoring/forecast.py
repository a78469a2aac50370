"""The next four weeks of every article in every shop."""

import flyte
from platform_images import models

env = flyte.TaskEnvironment(name="scoring-forecast", image=models.with_pip_packages("lightgbm"))


@env.task
def forecast(day: str) -> str:
    """The next four weeks of every article in every shop, for one day."""
    import lightgbm

    return f"scoring.forecast of {day}: {lightgbm.__name__}"
