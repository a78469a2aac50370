"""Promotion calendars, which marketing keeps in spreadsheets."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="ingest-promotions", image=frames.with_pip_packages("openpyxl"))


@env.task
def promotions(day: str) -> str:
    """Promotion calendars, which marketing keeps in spreadsheets, for one day."""
    import openpyxl

    return f"ingest.promotions of {day}: {openpyxl.__name__}"
