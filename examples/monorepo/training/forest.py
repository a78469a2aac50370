"""A random forest, for its robustness."""

import flyte
from platform_images import models

env = flyte.TaskEnvironment(name="training-forest", image=models)


@env.task
def forest(day: str) -> str:
    """A random forest, for its robustness, for one day."""
    import sklearn

    return f"training.forest of {day}: {sklearn.__name__}"
