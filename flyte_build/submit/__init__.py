"""Runs a task: flyte's ActionsService over files, an engine that schedules its actions, and sandboxes that run them.

Never builds an image and never sees a recipe. :func:`execute` answers a :class:`RunRequest` with a :class:`RunResult`;
``local`` launches, ``sandbox`` isolates, ``history`` reads what ran.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .history import Run, list_runs, read_run
    from .run import RunRequest, RunResult, execute

__all__ = ["Run", "RunRequest", "RunResult", "execute", "list_runs", "read_run"]

__getattr__ = offering(__name__, {"run": "RunRequest RunResult execute", "history": "Run list_runs read_run"})
