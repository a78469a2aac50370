"""Two steps that cannot share a NumPy: their environments are solved apart, and the plan says so.

A model that was trained long ago still needs NumPy 1; what is new wants NumPy 2. No image could hold both, and none
has to: each task runs in its own. The workflow's own image holds neither, so NumPy is imported inside the tasks.

    flyte-build plan examples/conflict/main.py compare
"""

import flyte

PLATFORM = ("linux/amd64",)
base = flyte.Image.from_debian_base(python_version=(3, 11), platform=PLATFORM)

legacy_env = flyte.TaskEnvironment(name="legacy_env", image=base.with_pip_packages("numpy<2"))
modern_env = flyte.TaskEnvironment(name="modern_env", image=base.with_pip_packages("numpy>=2"))
env = flyte.TaskEnvironment(name="compare_env", depends_on=[legacy_env, modern_env], image=base)


@legacy_env.task
def legacy_mean(values: list[float]) -> str:
    """The mean as NumPy 1 computes and prints it."""
    import numpy as np

    return f"NumPy {np.__version__}: {np.float64(np.mean(values))!r}"


@modern_env.task
def modern_mean(values: list[float]) -> str:
    """The mean as NumPy 2 computes and prints it: a scalar's repr has changed."""
    import numpy as np

    return f"NumPy {np.__version__}: {np.float64(np.mean(values))!r}"


@env.task
def compare(values: list[float]) -> list[str]:
    """Both answers, side by side."""
    return [legacy_mean(values), modern_mean(values)]
