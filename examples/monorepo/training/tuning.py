"""Search for hyperparameters."""

import flyte
from platform_images import models

env = flyte.TaskEnvironment(name="training-tuning", image=models.with_pip_packages("optuna"))


@env.task
def tuning(day: str) -> str:
    """Search for hyperparameters, for one day."""
    import optuna

    return f"training.tuning of {day}: {optuna.__name__}"
