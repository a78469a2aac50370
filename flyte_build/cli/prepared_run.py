"""What `flyte-build run` has before anything runs: the open project, the call, and its images, which are those on
record where nothing changed; or what an earlier run was started with. Runs nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..kernel.errors import InputError
from ..workbench import recorded, trying
from ..workbench.headstart import begin
from .console import counted, stderr
from .making import Watched
from .options import opened
from .task_arguments import parse_call

if TYPE_CHECKING:
    from ..submit.sandbox.spec import Network
    from ..workbench import Ready, RunOptions, Workbench

__all__ = ["begun", "prepared", "repeated", "uncollected"]


def begun(file: Path | None, task: str | None, network: Network | None) -> None:
    """Begin with what can be begun now, until the command's end; before all that takes long to import."""
    if file is not None and task is not None:
        if (unpacking := begin(file, task)) is not None:
            click.get_current_context().call_on_close(unpacking.end)
        trying.begin(file, network)


@contextmanager
def uncollected() -> Iterator[None]:
    """For imports: what comes of them stays, and to look for garbage in it again and again is a tenth of their time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def repeated(resume: str, on: str | None) -> tuple[Path, Path, Path, str, tuple[str, ...], Network | None]:
    """FILE, --root, --lockfiles, TASK, its arguments and --network of an earlier run."""
    if on is None:
        from ..workbench import kept_run

        earlier = kept_run(resume)
    else:
        from ..workbench.reaching import target_run

        earlier = target_run(on, resume)
    said = earlier.facts.get("invocation") or {}
    try:
        return (
            Path(said["file"]), Path(said["root"]), Path(said["lockfiles"]), said["task"], tuple(said["arguments"]),
            said.get("network"),
        )  # fmt: skip
    except KeyError:
        raise InputError(f"run {earlier.name} does not say how it was started: give FILE and TASK too") from None


def prepared(
    file: Path | None,
    task: str,
    arguments: tuple[str, ...],
    root: Path | None,
    lockfiles: Path | None,
    options: RunOptions,
    *,
    quiet: bool,
) -> tuple[Workbench, dict[str, Any], Ready]:
    """The open project, TASK's arguments, and its images: those on record where nothing changed since they were made
    ready last."""
    asked = recorded.key_of(
        "run", [str(file), task, str(root), str(lockfiles), str(not options.check), *options.caches]
    )
    ready = _recorded(asked)
    if ready is not None:
        bench = opened(file, root, lockfiles, quiet=quiet)
        given = parse_call(bench.task(task), bench.file, arguments)
        if not quiet:
            _say_cached(ready, ", nothing changed")
        return bench, given, ready
    from ..workbench.watching import watched

    with ExitStack() as watching:
        record = watching.enter_context(watched(file, root))
        bench = opened(file, root, lockfiles, quiet=quiet)
        given = parse_call(bench.task(task), bench.file, arguments)
        seen = Watched(quiet, watching)
        ready = bench.ready(
            task,
            caches=options.caches,
            check=options.check,
            locked=options.locked,
            network=options.network,
            follower=seen,
        )
    if ready.cached:
        record.save(asked, {"images": dict(ready.images), "derivations": list(ready.derivations)})
        if not quiet:
            _say_cached(ready)
    return bench, given, ready


def _recorded(asked: str) -> Ready | None:
    """The images of this task when nothing changed since they were made ready last."""
    answer = recorded.load(asked)
    if answer is None:
        return None
    from ..workbench import Ready

    ready = Ready(answer["images"], tuple(answer["derivations"]), cached=True)
    ready.keep()
    return ready


def _say_cached(ready: Ready, more: str = "") -> None:
    stderr().print(f"[bold green]nothing to build[/]: {counted(len(ready.images), 'image')} cached{more}")
