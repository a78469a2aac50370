"""What one asks of a run that runs, here or on a target: its end, or a condition's value. And runs of targets, read
from their storage, from any machine that reaches it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..kernel.errors import InputError, RunError
from ..kernel.paths import runs_dir
from ..settings import read_settings
from ..submit.action import Phase
from ..submit.conditions import literal_of
from ..submit.history import Run as Kept
from ..submit.history import read_run
from ..submit.kubernetes import away, reading
from ..submit.kubernetes.mirror import Mirror, Unreachable
from ..submit.kubernetes.target import Target
from ..submit.loop import run_apart
from ..submit.observer import Observer
from ..submit.requests import FolderInbox
from ..submit.storage import Storage
from .runs import Run
from .submitting import attend, connected_to, storage_of
from .targeting import target as target_named

__all__ = [
    "Unreachable",
    "abort_run",
    "asked",
    "follow_run",
    "signal_run",
    "storage_of_target",
    "target_run",
    "target_runs",
]


def _of(name: str, folder: Path | None = None) -> tuple[Target, Mirror]:
    target = target_named(name, read_settings(folder or Path.cwd()))
    return target, storage_of(target)


def storage_of_target(on: str) -> Mirror:
    """The storage of the target ``on`` of the working folder's settings."""
    return _of(on)[1]


def asked(on: str) -> None:
    """Raises :class:`~flyte_build.submit.kubernetes.mirror.Unreachable` where the target's storage does not answer."""
    run_apart(reading.answers(_of(on)[1]))


def target_runs(on: str, limit: int | None = None) -> list[Kept]:
    """The runs of the target ``on`` of the working folder's settings, the newest first.

    Raises :class:`~flyte_build.submit.kubernetes.mirror.Unreachable` where its storage does not answer.
    """
    mirror = _of(on)[1]

    async def read() -> list[Kept]:
        await reading.answers(mirror)
        return await reading.list_runs(mirror, limit)

    return run_apart(read())


def target_run(on: str, name: str, *, logs: bool = False) -> Kept:
    """The run of a target whose name begins with ``name``; with ``logs``, these are fetched to this machine."""
    _, mirror = _of(on)

    async def read() -> Kept:
        await reading.answers(mirror)
        run = await reading.read_run(mirror, await reading.full_name(mirror, name))
        if logs:
            await reading.fetch_logs(mirror, run)
        return run

    return run_apart(read())


def follow_run(on: str, name: str, observer: Observer) -> Run:
    """Follow a run of a target to its end; an interrupt aborts it."""
    target, mirror = _of(on)
    return attend(target, run_apart(reading.full_name(mirror, name)), observer)


def abort_run(name: str, observer: Observer, *, on: str | None = None) -> Kept:
    """End a run that runs, and everything of it. Raises :class:`RunError` where it does not run.

    On a target its driver is asked, and where it does not obey and the cluster is reached, all that was made for it is
    deleted. A run here is ended by its own process.
    """
    run = read_run(runs_dir(), name) if on is None else target_run(on, name)
    if run.phase is not None and run.phase.terminal:
        raise RunError(f"run {run.name} has ended: it {run.phase.value}")
    if on is None:
        if not run.running:
            raise RunError(
                f"run {run.name} does not run", hint=f"`flyte-build run --resume {run.name}` goes on with it"
            )
        _leave(run.name, {"abort": "asked for"})
        return run
    target, mirror = _of(on)
    try:
        cluster = connected_to(target)
    except InputError:
        cluster = None
    return run_apart(away.abort(mirror, cluster, run.name, observer))


def signal_run(name: str, condition: str, value: str, *, on: str | None = None) -> str:
    """Give the ``condition`` of a run, by its name or its action's, the ``value`` that was typed; gives its action.

    Raises :class:`RunError` where none of that name waits, and :class:`InputError` for a value that is none.
    """
    run = read_run(runs_dir(), name) if on is None else target_run(on, name)
    waiting = [a for a in run.actions if a.kind == "condition" and a.phase is Phase.PAUSED]
    found = next((a for a in waiting if condition in (a.task, a.name)), None)
    if found is None or not run.running:
        there = ", ".join(f"{a.task} ({a.asks})" for a in waiting) if run.running else ""
        raise RunError(
            f"run {run.name} waits for no condition `{condition}`",
            hint=f"it waits for {there}" if there else "`flyte-build runs` tells how it goes",
        )
    try:
        literal = literal_of(found.asks, value)
    except ValueError as e:
        raise InputError(f"the condition {found.task} of run {run.name}: {e}") from None
    request = {"signal": found.name, "value": literal.SerializeToString(deterministic=True).hex()}
    if on is None:
        _leave(run.name, request)
    else:
        run_apart(away.ask(_of(on)[1], run.name, request))
    return found.name


def _leave(run: str, request: Mapping[str, str]) -> None:
    FolderInbox.put(Storage(runs_dir()).run(run), json.dumps(dict(request)).encode())
