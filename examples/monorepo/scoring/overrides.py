"""What planners know better."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="scoring-overrides", image=frames.with_pip_packages("openpyxl"))


@env.task
def overrides(day: str) -> str:
    """What planners know better, for one day."""
    import openpyxl

    return f"scoring.overrides of {day}: {openpyxl.__name__}"
