"""Who delivers when."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="reporting-suppliers-report", image=frames.with_pip_packages("jinja2"))


@env.task
def suppliers_report(day: str) -> str:
    """Who delivers when, for one day."""
    import jinja2

    return f"reporting.suppliers_report of {day}: {jinja2.__name__}"
