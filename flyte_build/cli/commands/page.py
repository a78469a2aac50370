"""``flyte-build page [RUN]`` and ``flyte-build ui``: a run as a page, kept or live."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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

__all__ = ["page", "storage_wanted", "ui", "written"]


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
    log its end is shown. With --on, it is a run of a target, and all of it comes from its storage.

    \b
    flyte-build page
    flyte-build page r20261120-101500-ab12 -o run.html
    flyte-build page --on prod
    """
    from ...kernel.errors import RunError
    from ...workbench import kept_run, kept_runs
    from ...workbench.run_pages import page_of, target_page_run

    base = None
    if on is not None:
        with storage_wanted(), telling(f"asking {on}"):
            found, base = target_page_run(on, run)
    else:
        newest = kept_runs(1) if run is None else [kept_run(run)]
        if not newest:
            raise RunError("there are no runs here yet", hint="`flyte-build run FILE TASK` makes one")
        found = newest[0]
    if output == Path("-"):
        click.echo(page_of(found, base))
    else:
        written(found, output or Path(f"{found.name}.html"), base)


@contextmanager
def storage_wanted() -> Iterator[None]:
    """A page shows what is in a storage; where that is not reached, other commands show less."""
    from ...workbench.reaching import Unreachable

    try:
        yield
    except Unreachable as e:
        e.hint = f"{e.hint}; `flyte-build runs --on TARGET` lists what its cluster tells"
        raise


def written(run: Run, file: Path, base: str | None) -> None:
    """Write the page of ``run`` to ``file``, and say so."""
    from ...workbench.run_pages import write_page

    write_page(run, file, base)
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

    \b
    flyte-build ui
    flyte-build ui r20261120-101500-ab12
    flyte-build ui --on prod
    """
    import webbrowser

    from ...workbench.reaching import asked
    from ...workbench.run_pages import serve, serving

    pages = serving(port, on=on)
    try:
        with storage_wanted(), telling(f"asking {on}", quiet=on is None):
            if on is not None:
                asked(on)
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
