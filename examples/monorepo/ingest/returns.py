"""What came back, and why."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="ingest-returns", image=frames)


@env.task
def returns(day: str) -> str:
    """What came back, and why, for one day."""
    import pandas

    return f"ingest.returns of {day}: {pandas.__name__}"
