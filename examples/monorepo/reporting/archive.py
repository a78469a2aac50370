"""Keep it for the auditors."""

import flyte
from platform_images import base

env = flyte.TaskEnvironment(name="reporting-archive", image=base.with_pip_packages("zstandard"))


@env.task
def archive(day: str) -> str:
    """Keep it for the auditors, for one day."""
    import zstandard

    return f"reporting.archive of {day}: {zstandard.__name__}"
