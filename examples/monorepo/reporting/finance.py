"""The spreadsheet that finance asks for."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="reporting-finance", image=frames.with_pip_packages("xlsxwriter"))


@env.task
def finance(day: str) -> str:
    """The spreadsheet that finance asks for, for one day."""
    import xlsxwriter

    return f"reporting.finance of {day}: {xlsxwriter.__name__}"
