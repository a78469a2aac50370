"""Keep the model that won."""

import flyte
from platform_images import base

env = flyte.TaskEnvironment(name="training-registry", image=base.with_pip_packages("cloudpickle"))


@env.task
def registry(day: str) -> str:
    """Keep the model that won, for one day."""
    import cloudpickle

    return f"training.registry of {day}: {cloudpickle.__name__}"
