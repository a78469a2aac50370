"""Rows of the table: what holds for tasks, and for steps that are sealed, when they run on this machine."""

from __future__ import annotations

from .kinds import Setting

__all__ = ["HERE"]

HERE = (
    Setting(
        "unfiltered",
        "texts",
        "Environments whose tasks may make every system call when they run here: for debuggers, profilers, and "
        "programs that make sandboxes of their own.",
        '["profiling_env"]',
        default=(),
        otherwise="none",
        see="security.md",
    ),
    Setting(
        "pod-templates",
        "folder",
        "A folder of YAML files with PodTemplates and ConfigMaps, which stand for those of a namespace when tasks run "
        "here: tasks name a template by its name.",
        '"k8s"',
        otherwise="there are none",
        see="pod-templates.md",
    ),
    Setting(
        "task-disk",
        "size",
        "What a task may have on disk when it runs here and asks for no `disk` of its own, in its temporary folders "
        "and its outputs.",
        '"50Gi"',
        otherwise="what is free, but for a reserve",
        variable="FLYTE_BUILD_TASK_DISK",
        see="security.md",
    ),
    Setting(
        "task-files",
        "count",
        "How many files and folders a task may have when it runs here.",
        "5_000_000",
        default=1_000_000,
        variable="FLYTE_BUILD_TASK_FILES",
        see="security.md",
    ),
    Setting(
        "warm",
        "flag",
        "Actions that run here are forks of an interpreter of their image that has imported the runtime, where that "
        "can be, instead of interpreters of their own: a tenth of the processor time.",
        "false",
        default=True,
        variable="FLYTE_BUILD_WARM",
        see="warm.md",
    ),
    Setting(
        "network",
        "choice",
        "What tasks reach when they run here: `internet`, what this machine reaches but for the machine itself; "
        "`host`, its own services and ports, too; `none`, nothing.",
        '"none"',
        otherwise="`internet` where this machine can give it, else `host`, and a warning",
        variable="FLYTE_BUILD_NETWORK",
        option="--network",
        choices=("internet", "host", "none"),
        see="security.md",
    ),
    Setting(
        "seal-network",
        "choice",
        "What the commands of `with_commands` reach when they are sealed, as `network` has it. `internet` is `host`, "
        "and a warning, where this machine cannot give it.",
        '"none"',
        default="internet",
        variable="FLYTE_BUILD_SEAL_NETWORK",
        choices=("internet", "host", "none"),
        see="sealed-steps.md",
    ),
    Setting(
        "seal-memory",
        "size",
        "What each run of a sealed step, or build of a wheel, may have of this machine's memory: one that wants more "
        "is ended, and the lock with it.",
        '"8Gi"',
        otherwise="all but a sixteenth, where this user may make a control group",
        variable="FLYTE_BUILD_SEAL_MEMORY",
        see="sealed-steps.md",
    ),
    Setting(
        "seal-minutes",
        "count",
        "How long each run of a sealed step, or build of a wheel, may take.",
        "30",
        default=120,
        variable="FLYTE_BUILD_SEAL_MINUTES",
        see="sealed-steps.md",
    ),
)
