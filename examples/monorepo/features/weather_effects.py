"""Ice cream and umbrellas."""

import flyte
from platform_images import frames

env = flyte.TaskEnvironment(name="features-weather-effects", image=frames)


@env.task
def weather_effects(day: str) -> str:
    """Ice cream and umbrellas, for one day."""
    import pandas

    return f"features.weather_effects of {day}: {pandas.__name__}"
