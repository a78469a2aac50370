"""What is said of code given as text before a run on a target: the runtime there is the SDK's own. Refuses nothing."""

from __future__ import annotations

from collections.abc import Iterable

from ..kernel.code_strings import adopted
from ..project.nouns import Task

__all__ = ["uncallable"]


def uncallable(tasks: Iterable[Task], root: Task) -> list[str]:
    """A line for each of ``tasks`` that others than ``root`` cannot call on a target."""
    return [
        f"{task.location}: {task.full_name} is code given as text: on a target no other task can call it, for the "
        'runtime there knows no environment of it; `flyte.TaskEnvironment.from_task("NAME", …)` makes one'
        for task in tasks
        if adopted(task.template) and task.full_name != root.full_name
    ]
