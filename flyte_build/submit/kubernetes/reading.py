"""Runs as they lie in object storage, for listing, following and resuming them: from any machine that reaches it.

Only reads; what is fetched (logs, outputs, reports) lies in the mirror's folder of this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import obstore

from ...kernel.errors import RunError
from .. import door
from ..action import OUTPUTS, ROOT_ACTION, Phase
from ..cache import stored_outputs
from ..ended import RunResult
from ..history import Run, read_facts, run_of
from ..journal import ActionRecord
from ..observer import Observer
from ..storage import Storage
from .mirror import TRIES_IT, Mirror, Unreachable
from .stored_journal import Pieces

__all__ = [
    "ALIVE", "BEAT_SECONDS", "StoredRun", "answers", "fetch_logs", "follow", "full_name", "list_runs", "newest",
    "read_chain", "read_run", "result",
]  # fmt: skip

ALIVE = "alive"
BEAT_SECONDS = 20.0
# Its driver is taken for dead after so long (seconds) without a beat: clocks of machines differ.
_SILENT = 180.0
_LOOK = 1.0
_LOG = 1 << 30

T = TypeVar("T")


async def answers(mirror: Mirror, seconds: float = 20.0) -> None:
    """Raises :class:`~.mirror.Unreachable` for a storage that says nothing so long: its client tries on."""

    async def first() -> None:
        async for _ in obstore.list(mirror.store, chunk_size=1):
            return

    try:
        await asyncio.wait_for(first(), seconds)
    except TimeoutError:
        raise Unreachable(f"{mirror.url}: no answer within {seconds:g} s", hint=TRIES_IT) from None
    except (obstore.exceptions.BaseError, OSError) as e:
        words = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise Unreachable(f"{mirror.url}: {words}", hint=TRIES_IT) from None


async def full_name(mirror: Mirror, name: str) -> str:
    """The run whose name begins with ``name``; raises :class:`RunError` where that is not exactly one."""
    if await mirror.get(f"{name}/run.json") is not None:
        return name
    found = [n for n in await _names(mirror) if n.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RunError(f"`{name}` is the beginning of several runs: {', '.join(found)}")
    raise RunError(f"no run `{name}` in {mirror.url}", hint="`flyte-build runs --on TARGET` lists them")


async def list_runs(mirror: Mirror, limit: int | None = None) -> list[Run]:
    """Every run, the newest first. What is no run is passed over."""
    return list(await asyncio.gather(*(read_run(mirror, name) for name in await newest(mirror, limit, {}))))


async def newest(mirror: Mirror, limit: int | None, known: dict[str, float]) -> list[str]:
    """The names of the newest runs, the newest first. ``known``: when each began that was asked for before."""
    slots = asyncio.Semaphore(16)

    async def began(name: str) -> None:
        async with slots:
            data = await mirror.get(f"{name}/run.json") if name not in known else None
        with contextlib.suppress(ValueError):
            if data is not None:
                known[name] = float(read_facts(data).get("started", 0.0))

    there = await _names(mirror)
    await asyncio.gather(*(began(name) for name in there))
    return sorted((name for name in there if name in known), key=lambda name: (known[name], name), reverse=True)[:limit]


async def _names(mirror: Mirror) -> list[str]:
    listed = await obstore.list_with_delimiter_async(mirror.store)
    return sorted(str(prefix).rstrip("/").rpartition("/")[2] for prefix in listed["common_prefixes"])


async def read_run(mirror: Mirror, name: str) -> Run:
    """One run by its whole name; raises :class:`RunError`."""
    return await StoredRun(mirror, name).now()


class StoredRun:
    """One run that is read again and again: each time only what is new of its journal is fetched."""

    def __init__(self, mirror: Mirror, name: str) -> None:
        self._mirror, self._name = mirror, name
        self._pieces = Pieces(mirror, name)
        self._entries: list[dict[str, Any]] = []
        self._facts: dict[str, Any] | None = None
        self._alive = False

    async def now(self) -> Run:
        """The run as it is now; raises :class:`RunError`."""
        mirror, name = self._mirror, self._name
        heard = self._alive and self._pieces.idle < BEAT_SECONDS
        data, new, self._alive = await asyncio.gather(
            mirror.get(f"{name}/run.json") if self._facts is None else _said(None),
            self._pieces.new(),
            _said(True) if heard else _alive(mirror, name),
        )
        if self._facts is None:
            try:
                self._facts = read_facts(data or b"")
            except ValueError as e:
                raise RunError(f"{mirror.url}/{name}/run.json: cannot be read: {e}") from None
        self._entries += new
        ended = any("run" in entry for entry in self._entries[-1:])
        # One that was handed over a moment ago may have no driver yet.
        fresh = not self._entries and time.time() - float(self._facts.get("started", 0.0)) < _SILENT
        where = f"{mirror.url}/{name}/journal"
        running = not ended and (self._alive or fresh)
        return run_of(name, mirror.runs / name, self._facts, self._entries, where, running=running)


async def _said(value: T) -> T:
    return value


async def _alive(mirror: Mirror, name: str) -> bool:
    try:
        found = await obstore.head_async(mirror.store, f"{name}/{ALIVE}")
    except (FileNotFoundError, obstore.exceptions.NotFoundError):
        return False
    return time.time() - found["last_modified"].timestamp() < _SILENT


async def read_chain(mirror: Mirror, name: str, warn: Callable[[str], object]) -> list[Run]:
    """The run, the one that it resumed, and so on; see :func:`~..history.read_chain`."""
    chain = [await read_run(mirror, name)]
    while (before := chain[-1].facts.get("resume")) and before not in {run.name for run in chain}:
        try:
            chain.append(await read_run(mirror, str(before)))
        except RunError as e:
            warn(f"run {chain[-1].name} resumed {before}, whose successes are not reused: {e.message}")
            break
    return chain


async def follow(mirror: Mirror, name: str, observer: Observer) -> Run:
    """Tell ``observer`` of the run, from its beginning, as its journal grows; gives it once it has ended.

    Raises :class:`RunError`, also where its driver seems dead and nothing comes.
    """
    pieces = Pieces(mirror, name)
    silent = False
    while True:
        ended = False
        for entry in await pieces.new():
            ended = "run" in entry
            _tell(entry, observer)
        if ended:
            return await read_run(mirror, name)
        run = await read_run(mirror, name) if pieces.idle > _SILENT and not silent else None
        if run is not None and not run.running:
            silent = True
            observer.warn(f"nothing was heard of the driver of {name} for {_SILENT:g} s; it is waited for")
        await asyncio.sleep(_LOOK)


def _tell(entry: dict[str, Any], observer: Observer) -> None:
    if "action" in entry:
        observer.on_action(ActionRecord.from_json(entry["action"]))
    elif "line" in entry:
        line = entry["line"]
        observer.on_line(str(line.get("action")), int(line.get("attempt") or 0), str(line.get("text")))


async def fetch_logs(mirror: Mirror, run: Run, action: str = "") -> None:
    """Have the logs of its attempts, or of one action's, here, where :func:`~..history.find_logs` looks."""
    for key, size in (await mirror.keys(f"{run.name}/logs/{action}".rstrip("/"))).items():
        path = mirror.runs / key
        if key.endswith(".log") and not (path.is_file() and path.stat().st_size == size):
            await mirror.down(path, _LOG)


async def result(mirror: Mirror, run: Run) -> RunResult:
    """How a run that has ended did so, with its outputs, its reports and the logs of what failed on this machine."""
    storage = Storage(mirror.runs, mirror.url)
    root = next((a for a in run.actions if a.name == ROOT_ACTION), ActionRecord(ROOT_ACTION, phase=Phase.ABORTED))
    outputs = None
    if root.output_uri:
        document = storage.path(root.output_uri) / OUTPUTS
        await mirror.down(document, door.LARGEST)
        outputs = stored_outputs(f"{root.output_uri}/{OUTPUTS}", storage)
    actions = [await _here(mirror, storage, a) for a in run.actions]
    return RunResult(
        name=run.name,
        folder=run.folder,
        phase=root.phase,
        storage=storage,
        actions=tuple(actions),
        outputs=outputs.SerializeToString(deterministic=True) if outputs is not None else None,
        error=root.error,
        target=str(run.facts.get("target", "")),
    )


async def _here(mirror: Mirror, storage: Storage, record: ActionRecord) -> ActionRecord:
    """The record with its report, and its log where it failed, as files of this machine."""
    wanted = {"report": record.report, "log": record.log if record.error is not None else ""}
    changes: dict[str, Any] = {}
    for name, uri in wanted.items():
        if uri:
            try:
                path: Path = storage.path(uri)
                if await mirror.down(path, _LOG):
                    changes[name] = str(path)
            except (ValueError, OSError, RunError):
                continue
    return record.replace(**changes)
