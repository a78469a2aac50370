"""Weekdays, holidays and the days around them."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="features-calendar", image=frames.with_pip_packages("holidays"))


@env.task
def calendar(day: str) -> str:
    """Weekdays, holidays and the days around them, for one day."""
    import holidays

    return f"features.calendar of {day}: {holidays.__name__}"
