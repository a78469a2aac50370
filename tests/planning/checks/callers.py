"""A task that calls another, of an environment with packages of its own."""

from __future__ import annotations

from .conftest import IMAGE

CALLEE = (
    IMAGE
    + """
import {module}

LOW_PACKAGES = ["biopython", "numpy"]
low_image = image.with_pip_packages(*LOW_PACKAGES)
low = flyte.TaskEnvironment("low", image=low_image)

@low.task
def work(x: int) -> int:
    return x
"""
)

CALLER = (
    IMAGE
    + """
from low import low, work

main_image = image.with_pip_packages("numpy")
env = flyte.TaskEnvironment("env", depends_on=[{depends}], image=main_image)

@env.task
def main(x: int) -> int:
    return work(x)
"""
)
