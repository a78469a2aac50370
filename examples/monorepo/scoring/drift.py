"""Is the world still the one we trained on."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="scoring-drift", image=frames.with_pip_packages("scipy"))


@env.task
def drift(day: str) -> str:
    """Is the world still the one we trained on, for one day."""
    import scipy

    return f"scoring.drift of {day}: {scipy.__name__}"
