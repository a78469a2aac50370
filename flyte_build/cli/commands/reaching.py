"""``flyte-build abort RUN`` and ``flyte-build signal RUN NAME VALUE``."""

from __future__ import annotations

import click

from ..completion import complete_run
from ..console import echo, stderr
from ..options import on_option

__all__ = ["abort", "signal"]


@click.command()
@click.argument("run", shell_complete=complete_run)
@on_option
def abort(run: str, on: str | None) -> None:
    """End RUN, and every action of it that runs, here or on a target.

    RUN may be the beginning of a run's name. What succeeded is kept: `flyte-build run --resume RUN` reuses it. On a
    target the run's driver is asked by the storage; where it does not obey within 45 s, and the cluster can be reached,
    everything that was made for the run is deleted there.

    \b
    flyte-build abort r20261120-101500-ab12
    flyte-build abort --on prod r20261120-101500-ab12
    """
    from ...workbench.reaching import abort_run
    from ..live import RunView

    ended = abort_run(run, RunView(run, quiet=True), on=on)
    what = f"is {ended.phase.value}" if ended.phase is not None and ended.phase.terminal else "is asked to end"
    stderr().print(f"run {ended.name} {what}")


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.argument("name")
@click.argument("value")
@on_option
def signal(run: str, name: str, value: str, on: str | None) -> None:
    """Give the condition NAME of RUN its VALUE: true or false, a number, or a text, as the condition asks for.

    NAME is what the task calls it (`flyte.new_condition("approve", …)`), or the id of its action. Where nothing of that
    name waits, what does is listed. RUN may be the beginning of a run's name.

    \b
    flyte-build signal r20261120-101500-ab12 approve true
    flyte-build signal --on prod r20261120-101500-ab12 threshold 0.5
    """
    from ...workbench.reaching import signal_run

    echo(signal_run(run, name, value, on=on))
