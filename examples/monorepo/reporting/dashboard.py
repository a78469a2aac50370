"""Charts for the screens in the corridor."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="reporting-dashboard", image=frames.with_pip_packages("plotly"))


@env.task
def dashboard(day: str) -> str:
    """Charts for the screens in the corridor, for one day."""
    import plotly

    return f"reporting.dashboard of {day}: {plotly.__name__}"
