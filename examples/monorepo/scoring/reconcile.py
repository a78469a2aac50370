"""Make shops add up to regions."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="scoring-reconcile", image=frames)


@env.task
def reconcile(day: str) -> str:
    """Make shops add up to regions, for one day."""
    import pandas

    return f"scoring.reconcile of {day}: {pandas.__name__}"
