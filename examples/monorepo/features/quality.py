"""Checks that stop a bad table before it trains a model."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="features-quality", image=frames.with_pip_packages("pandera"))


@env.task
def quality(day: str) -> str:
    """Checks that stop a bad table before it trains a model, for one day."""
    import pandera

    return f"features.quality of {day}: {pandera.__name__}"
