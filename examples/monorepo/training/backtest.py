"""Every model on every past month."""

import flyte
from platform_images import models

env = flyte.TaskEnvironment(name="training-backtest", image=models)


@env.task
def backtest(day: str) -> str:
    """Every model on every past month, for one day."""
    import sklearn

    return f"training.backtest of {day}: {sklearn.__name__}"
