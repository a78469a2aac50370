"""``flyte-build serve FILE [APP]``."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from ...kernel.errors import FlyteBuildError, InputError
from ..completion import complete_environment
from ..console import echo, stderr
from ..options import (
    cache_option,
    file_argument,
    json_option,
    network_option,
    on_option,
    project_options,
    unchecked_option,
)

if TYPE_CHECKING:
    from ...submit.sandbox.spec import Network
    from ...workbench import Workbench

__all__ = ["serve"]


class _Console:
    """What a person sees: the app's own lines on standard output, all else on standard error."""

    def __init__(self, name: str) -> None:
        self._name = name

    def ready(self, url: str) -> None:
        self._say(f"{self._name} answers at {url}", style="bold")

    def printed(self, lines: str) -> None:
        sys.stdout.write(lines)
        sys.stdout.flush()

    def changed(self, files: Sequence[str]) -> None:
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        self._say(f"changed: {', '.join(files[:3])}{more}", style="dim")

    def failed(self, error: FlyteBuildError) -> None:
        self._say(f"error: {error.message}", style="red")
        if error.hint:
            self._say(f"hint: {error.hint}")
        self._say("waiting for a change of the code", style="dim")

    def ended(self, code: int) -> None:
        self._say(f"{self._name} ended with exit code {code}; waiting for a change of the code", style="red")

    def _say(self, line: str, style: str | None = None) -> None:
        stderr().print(escape(line), style=style, soft_wrap=True)


class _Machine:
    """The same as one JSON object a line."""

    def ready(self, url: str) -> None:
        self._tell("ready", url=url)

    def printed(self, lines: str) -> None:
        for line in lines.splitlines():
            self._tell("line", line=line)

    def changed(self, files: Sequence[str]) -> None:
        self._tell("changed", files=list(files))

    def failed(self, error: FlyteBuildError) -> None:
        self._tell("failed", message=error.message, hint=error.hint)

    def ended(self, code: int) -> None:
        self._tell("ended", exit_code=code)

    def _tell(self, event: str, **facts: object) -> None:
        echo(json.dumps({"schema": 1, "event": event, **facts}, ensure_ascii=False))
        sys.stdout.flush()


@click.command()
@file_argument
@click.argument("app", required=False, shell_complete=complete_environment)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="The port of this machine's loopback (default: the app's own, or a free one where that is taken).",
)
@click.option(
    "--no-reload", "reload", flag_value=False, is_flag=True, default=True, help="Serve the code as it is now."
)
@on_option
@click.option("--locked", is_flag=True, help="Never write a lock: a project without one is an error.")
@network_option
@cache_option
@unchecked_option
@project_options
@json_option
def serve(
    file: Path | None,
    app: str | None,
    port: int | None,
    reload: bool,
    on: str | None,
    locked: bool,
    network: Network | None,
    caches: tuple[str, ...],
    check: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
) -> None:
    """Serve APP of FILE, an app environment, in a sandbox of its image, until Ctrl-C.

    Builds what is missing, starts the app with the apps that it depends on, and prints the URL once something listens
    on its port. Only this machine reaches it. What the app prints goes to standard output, all else to standard error.
    With one app in FILE, APP may be left out.

    A change of the project's code is served at once: images are made ready again, and the old version stays until the
    new one can start, or where it cannot. With --no-reload an app that ends ends the command, with exit code 12.

    With --on, APP is served on a cluster, for as long as this command runs: a Deployment and a Service each of APP and
    the apps that it depends on. The URL is the cluster's own. The code is served as it is now.

    With --json, each event is an object on a line of standard output: ready, line, changed, failed, ended.

    \b
    flyte-build serve app.py
    flyte-build serve app.py my-app --port 9000
    flyte-build serve --on prod app.py my-app
    """
    if on is not None and (port is not None or network is not None):
        raise InputError(
            f"--{'port' if port is not None else 'network'} is for apps on this machine, and --on {on} is a cluster",
            hint="leave one of the two out; `kubectl port-forward` leads a port of this machine to a Service",
        )
    from ...workbench.serving import ServeOptions, app_named
    from ...workbench.serving import serve as served

    def opened() -> Workbench:
        import contextlib

        from ...workbench import open_project
        from ..progress import make_reporter

        with contextlib.redirect_stdout(sys.stderr):
            return open_project(file, root=root, lockfiles=lockfiles, reporter=make_reporter(as_json))

    first: list[Workbench] = [opened()]
    name = app_named(first[0].environments, app).name
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    options = ServeOptions(port, reload, network, caches, check, locked)
    try:
        audience = _Machine() if as_json else _Console(name)
        if on is not None:
            from ...workbench.serving_away import serve_on

            return serve_on(first.pop(), name, on, options, audience, stop)
        served(lambda: first.pop() if first else opened(), name, options, audience, stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
