"""Sandboxed code that an environment is given as text (``env.sandbox.orchestrator("x + y", …)``) becomes its task.

The SDK makes such a task and tells its environment nothing of it: it belongs to none unless one is made of it
(``TaskEnvironment.from_task``), and cannot be run. So it is noticed when it is made, and is its environment's once the
file has been imported: where a file is read, and where its tasks run, for this one is in their sandboxes, too (see
``submit/resolver``). Standard library only, and Python 3.8's; of the SDK, what is imported already.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["adopt", "adopted", "adopting", "made_at", "notice"]

_MADE, _ADOPTED = "_flyte_build_made", "_flyte_build_adopted"

# (environment, task), in the order in which they were made.
_NOTICED: list[tuple[Any, Any]] = []


def notice() -> Callable[[], None]:
    """Notice what is made from now on; gives how to stop. Nothing is where this SDK has no such code."""
    owner: Any = getattr(sys.modules.get("flyte._task_environment"), "_SandboxNamespace", None)
    original = getattr(owner, "orchestrator", None)
    if original is None or hasattr(original, "__wrapped__"):
        return lambda: None

    @functools.wraps(original)
    def orchestrator(self: Any, *args: Any, **kwargs: Any) -> Any:
        made = original(self, *args, **kwargs)
        if args and isinstance(args[0], str):
            # The SDK finds such a task again in the module that it was made in, and takes its caller's: here, this one.
            caller = sys._getframe(1)
            made.func.__module__ = caller.f_globals.get("__name__", "__main__")
            setattr(made.func, _MADE, (caller.f_code.co_filename, caller.f_lineno))
            _NOTICED.append((self._env, made))
        return made

    def stop() -> None:
        owner.orchestrator = original

    owner.orchestrator = orchestrator
    return stop


def adopt() -> None:
    """Make what was noticed its environment's, unless another has taken it meanwhile.

    Several of one name (that of those without a name, say) are told apart by a number, in the order of their making.
    """
    while _NOTICED:
        environment, task = _NOTICED.pop(0)
        if getattr(task, "parent_env_name", None):
            continue
        name, number = task.name, 1
        while task.name in environment._tasks:
            number += 1
            task.name = f"{name}-{number}"
        task.short_name = task.name
        task.parent_env = weakref.ref(environment)
        task.parent_env_name = environment.name
        setattr(task.func, _ADOPTED, True)
        environment._tasks[task.name] = task


def made_at(task: Any) -> tuple[str, int] | None:
    """The file and the line in which code was given as text; ``None`` for any other task."""
    return getattr(getattr(task, "func", None), _MADE, None)


def adopted(task: Any) -> bool:
    """Whether its environment is one that :func:`adopt` gave it, which the SDK by itself knows nothing of."""
    return bool(getattr(getattr(task, "func", None), _ADOPTED, False))


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Notice for the time of the block, and adopt at its end."""
    stop = notice()
    try:
        yield
    finally:
        stop()
        adopt()
