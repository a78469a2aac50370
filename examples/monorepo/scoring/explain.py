"""Why this forecast."""

import flyte
from platform_images import models

env = flyte.TaskEnvironment(name="scoring-explain", image=models.with_pip_packages("shap"))


@env.task
def explain(day: str) -> str:
    """Why this forecast, for one day."""
    import shap

    return f"scoring.explain of {day}: {shap.__name__}"
