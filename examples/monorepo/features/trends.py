"""Trend and season, split by STL."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="features-trends", image=frames.with_pip_packages("statsmodels"))


@env.task
def trends(day: str) -> str:
    """Trend and season, split by STL, for one day."""
    import statsmodels

    return f"features.trends of {day}: {statsmodels.__name__}"
