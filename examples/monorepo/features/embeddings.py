"""Articles as points, by what is bought together."""

import flyte
from platform_images import models

env = flyte.TaskEnvironment(name="features-embeddings", image=models)


@env.task
def embeddings(day: str) -> str:
    """Articles as points, by what is bought together, for one day."""
    import sklearn

    return f"features.embeddings of {day}: {sklearn.__name__}"
