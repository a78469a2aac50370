"""What the commands of the torture import, imported once, by the process that they are forked from."""

from importlib import import_module

for name in (
    "flyte",
    "flyte_build.cli.app",
    *(f"flyte_build.cli.commands.{command}" for command in ("build", "bundle", "lock", "push", "store")),
    "flyte_build.locking.project",
    "flyte_build.submit.run",
    "flyte_build.workbench.bench",
    "flyte_build.workbench.making",
    "flyte_build.workbench.pipeline",
    "tests.hostile.torture_runs",
):
    import_module(name)
