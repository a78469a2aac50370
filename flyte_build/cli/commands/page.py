"""``flyte-build page [RUN]`` and ``flyte-build ui``: a run as a page, kept or live."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from ...kernel.paths import shown
from ...kernel.patience import patiently
from ..completion import complete_run
from ..console import counted, echo
from ..interrupts import answered
from ..options import on_option
from ..waits import telling

if TYPE_CHECKING:
    from ...submit.history import Run
    from ...workbench.run_pages import DetailsOf, Pages

__all__ = ["of_target", "page", "ui", "written"]


@click.command()
@click.argument("run", required=False, shell_complete=complete_run)
@on_option
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file to write (default: RUN.html here; `-` for standard output).",
)
def page(run: str | None, on: str | None, output: Path | None) -> None:
    """Write the page of RUN (default: the newest run): its timeline, who called whom, inputs, outputs, logs, reports,
    errors and images, in one HTML file.

    The file loads nothing and can be kept or sent. RUN may be the beginning of a run's name. What is long is cut: of a
    log its end is shown. With --on, it is a run of a target, and all of it comes from its storage; where that is
    not reached, what the cluster tells of it.

    \b
    flyte-build page
    flyte-build page r20261120-101500-ab12 -o run.html
    flyte-build page --on prod
    """
    from ...kernel.errors import RunError
    from ...workbench import kept_run, kept_runs
    from ...workbench.run_pages import page_of

    base = details = None
    if on is not None:
        found, base, details = of_target(on, run)
    else:
        newest = kept_runs(1) if run is None else [kept_run(run)]
        if not newest:
            raise RunError("there are no runs here yet", hint="`flyte-build run FILE TASK` makes one")
        found = newest[0]
    if output == Path("-"):
        click.echo(page_of(found, base, details))
    else:
        written(found, output or Path(f"{found.name}.html"), base, details)


def of_target(on: str, name: str | None) -> tuple[Run, str | None, DetailsOf | None]:
    """A run of the target ``on`` (``None``: its newest), and what its tasks call the storage. Where that is not there,
    what the cluster tells, and who gives the details; and says so."""
    from ...workbench.reaching import Unreachable
    from ...workbench.run_pages import target_page_run

    try:
        with telling(f"asking {on}"):
            return *target_page_run(on, name), None
    except Unreachable as e:
        from ...workbench.seen_pages import Sight
        from ..at_sight import say_at_sight

        sight = Sight(on, e)
        found = sight.find(name)
        say_at_sight(on, e)
        return found, None, sight.details


def written(run: Run, file: Path, base: str | None, details: DetailsOf | None = None) -> None:
    """Write the page of ``run`` to ``file``, and say so."""
    from ...workbench.run_pages import write_page

    write_page(run, file, base, details)
    echo(f"written to {shown(file)}: {run.task}, {counted(len(run.actions), 'action')}")


@click.command()
@click.argument("run", required=False, shell_complete=complete_run)
@on_option
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port to listen on (default: a free one).")
@click.option("--no-open", is_flag=True, help="Do not open a browser; only print the address.")
def ui(run: str | None, on: str | None, port: int, no_open: bool) -> None:
    """Show runs in a browser while they go on: the list, or RUN's page.

    The server listens on this machine's loopback only, reads only, and answers to the printed address, which has a
    token of its own. Ctrl-C ends it.

    With --on, it shows the runs of a target, whoever started them and from wherever: all of it comes from the target's
    storage. What pods print while they run comes from the cluster, where that is reached, and else once they ended.
    Where the storage is not reached, it is what the cluster tells: states, times, and what pods have printed.

    \b
    flyte-build ui
    flyte-build ui r20261120-101500-ab12
    flyte-build ui --on prod
    """
    import webbrowser

    from ...workbench.run_pages import serve

    with telling(f"asking {on}", quiet=on is None):
        pages = _pages(on, port)
    try:
        with telling(f"asking {on}", quiet=on is None):
            url = pages.url if run is None else pages.url_of(pages.find(run).name)
            pages.runs()  # what cannot be read is said here, and not to a browser
    except BaseException:
        pages.server_close()
        raise
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        answered()
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with patiently(""):
            echo(url)
            if not no_open:
                webbrowser.open(url)
            serve(pages, stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pages(on: str | None, port: int) -> Pages:
    """A server of the runs here, or of the target ``on``: of what its cluster tells, where its storage is not reached,
    which is said then."""
    from ...workbench.run_pages import serving

    if on is None:
        return serving(port)
    from ...workbench.reaching import Unreachable, asked

    try:
        asked(on)
    except Unreachable as e:
        from ...workbench.seen_pages import serving_at_sight
        from ..at_sight import say_at_sight

        pages = serving_at_sight(on, e, port)
        say_at_sight(on, e)
        return pages
    return serving(port, on=on)
