"""A page for every shop."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="reporting-shops", image=frames.with_pip_packages("jinja2"))


@env.task
def shops(day: str) -> str:
    """A page for every shop, for one day."""
    import jinja2

    return f"reporting.shops of {day}: {jinja2.__name__}"
