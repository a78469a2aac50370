"""Conformal prediction intervals."""

import flyte
from platform_images import models

env = flyte.TaskEnvironment(name="scoring-intervals", image=models)


@env.task
def intervals(day: str) -> str:
    """Conformal prediction intervals, for one day."""
    import sklearn

    return f"scoring.intervals of {day}: {sklearn.__name__}"
