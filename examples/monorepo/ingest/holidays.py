"""Public holidays of every region."""

import flyte
from platform_images import base

env = flyte.TaskEnvironment(name="ingest-holidays", image=base.with_pip_packages("holidays"))


@env.task
def holidays(day: str) -> str:
    """Public holidays of every region, for one day."""
    import holidays

    return f"ingest.holidays of {day}: {holidays.__name__}"
