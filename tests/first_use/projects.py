"""Three shapes of Flyte projects, as people have them: a file, a uv project in src layout, a monorepo."""

from __future__ import annotations

__all__ = ["SHAPES"]

_IMAGE = 'flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))'

_SINGLE = {
    "flow.py": f"""
import flyte

env = flyte.TaskEnvironment("reports", image={_IMAGE}.with_pip_packages("tabulate"))


@env.task
def main(rows: int) -> str:
    from tabulate import tabulate

    return tabulate([[n, n * n] for n in range(rows)])
""",
}

_SRC = {
    "pyproject.toml": """
[project]
name = "forecast"
version = "0.3.0"
requires-python = ">=3.11"
dependencies = ["flyte", "more-itertools"]

[tool.ruff]
line-length = 100
""",
    "src/forecast/__init__.py": "",
    "src/forecast/model.py": """
def mean(values: list[float]) -> float:
    return sum(values) / len(values)
""",
    "src/forecast/flow.py": f"""
import flyte

from forecast.model import mean

env = flyte.TaskEnvironment("forecast", image={_IMAGE}.with_pip_packages("more-itertools"))


@env.task
def main(values: list[float]) -> float:
    return mean(values)
""",
}

_MONOREPO = {
    "pyproject.toml": "[project]\nname = 'platform'\nversion = '1'\n",
    "ingest/__init__.py": "",
    "ingest/tasks.py": f"""
import flyte

env = flyte.TaskEnvironment("ingest", image={_IMAGE}.with_pip_packages("humanize"))


@env.task
def ingest(count: int) -> str:
    import humanize

    return humanize.intcomma(count)
""",
    "train/__init__.py": "",
    "train/tasks.py": f"""
import flyte

env = flyte.TaskEnvironment("train", image={_IMAGE})


@env.task
def train(text: str) -> int:
    return len(text)
""",
    "main.py": f"""
import flyte

from ingest.tasks import env as ingest_env, ingest
from train.tasks import env as train_env, train

env = flyte.TaskEnvironment("pipeline", image={_IMAGE}, depends_on=[ingest_env, train_env])


@env.task
def main(count: int) -> int:
    return train(ingest(count))
""",
    ".github/workflows/test.yml": "on: push\n",
}

SHAPES = {
    "single": (_SINGLE, {"reports"}, 'file = "flow.py"\n'),
    "src": (_SRC, {"forecast"}, 'file = "src/forecast/flow.py"\nroot = "src"\n'),
    "monorepo": (_MONOREPO, {"ingest", "train", "pipeline"}, 'file = "main.py"\n'),
}
"""Name → files, environments, and what ``init`` writes into [tool.flyte-build]."""
