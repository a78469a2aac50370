"""How sales answer to prices."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="features-elasticity", image=frames.with_pip_packages("statsmodels"))


@env.task
def elasticity(day: str) -> str:
    """How sales answer to prices, for one day."""
    import statsmodels

    return f"features.elasticity of {day}: {statsmodels.__name__}"
