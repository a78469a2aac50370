"""``flyte lock`` and ``flyte plan``: our own commands, under the SDK's command line.

The same command objects as ``flyte-build lock`` and ``flyte-build plan``; only how an error ends them is added, since
the SDK's command line knows nothing of our errors.
"""

from __future__ import annotations

import copy
from typing import Any

from ..cli.commands.lock import lock as _lock
from ..cli.commands.plan import plan as _plan

__all__ = ["lock", "plan"]


def _under_flyte(command: Any) -> Any:
    """A copy of ``command`` that shows our errors and ends with their exit codes."""
    made = copy.copy(command)

    def invoke(ctx: Any) -> Any:
        from ..cli.errors import show_error
        from ..kernel.errors import FlyteBuildError

        try:
            return command.invoke(ctx)
        except FlyteBuildError as e:
            show_error(e)
            ctx.exit(e.exit_code)

    made.invoke = invoke
    return made


lock = _under_flyte(_lock)
plan = _under_flyte(_plan)
