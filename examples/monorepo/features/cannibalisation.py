"""Articles that take sales from each other."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="features-cannibalisation", image=frames.with_pip_packages("networkx"))


@env.task
def cannibalisation(day: str) -> str:
    """Articles that take sales from each other, for one day."""
    import networkx

    return f"features.cannibalisation of {day}: {networkx.__name__}"
