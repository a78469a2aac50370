"""Forecasts by region, from an XML feed."""

import flyte
from platform_images import web

env = flyte.TaskEnvironment(name="ingest-weather", image=web.with_pip_packages("lxml"))


@env.task
def weather(day: str) -> str:
    """Forecasts by region, from an XML feed, for one day."""
    import lxml

    return f"ingest.weather of {day}: {lxml.__name__}"
