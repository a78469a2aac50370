"""Articles without a past, by their neighbours."""

import flyte
from platform_images import models

env = flyte.TaskEnvironment(name="scoring-new-articles", image=models)


@env.task
def new_articles(day: str) -> str:
    """Articles without a past, by their neighbours, for one day."""
    import sklearn

    return f"scoring.new_articles of {day}: {sklearn.__name__}"
