"""What happened in a run, appended as it happens and never rewritten.

One JSON object a line. An action's end is on the disk (fsync) before anybody hears of it, so whatever was computed can
be found again after a crash; what else is told of it is written soon. The last line may be torn by a crash; it is
ignored, and so is nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import operator
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flyteidl2.actions import actions_service_pb2

from ..kernel.documents import parse_object
from ..kernel.errors import RunError
from ..kernel.values import dataclass
from .action import ErrorInfo, Kind, Phase

__all__ = ["ActionRecord", "Attempt", "Journal", "read_journal"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One that is over: its number, when it was begun and ended, how (a terminal phase), and the error's first line."""

    number: int
    started: float
    ended: float
    phase: Phase
    error: str = ""

    @classmethod
    def from_json(cls, data: Any) -> Attempt:
        """What ``dataclasses.asdict`` gave; raises ``ValueError`` and ``TypeError`` for anything else."""
        if not isinstance(data, dict):
            raise ValueError(f"attempts: expected objects, found {type(data).__name__}")
        fields = {name: data[name] for name in ("number", "started", "ended", "phase", "error") if name in data}
        for name, kinds in (("number", int), ("started", int | float), ("ended", int | float), ("error", str)):
            if name in fields and (not isinstance(fields[name], kinds) or isinstance(fields[name], bool)):
                raise ValueError(f"attempts: {name}: found {type(fields[name]).__name__}")
        return cls(**{**fields, "phase": Phase(str(fields.get("phase")))})


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """One action at one moment: what the journal keeps, the observer sees and a resumed run reuses.

    Times are seconds since the epoch. ``output_uri`` is the folder of ``outputs.pb`` as tasks see it, ``value`` a
    condition's serialized literal in hex, ``asks`` what kind of value it waits for and ``prompt`` how it says so,
    ``report`` a path on this machine.
    ``source`` tells an outcome that was not computed here: ``cache`` or ``resume``. ``retry`` counts the attempts
    before this one that its retry policy allowed for. ``bundle`` is the code's digest, ``image`` the manifest's.
    ``run`` is the name of the run that its parent started with it, if it is the root of one. ``short_name`` is what its
    task is called where that is not its function's name, ``queue`` and ``interruptible`` are what it says; ``attempts``
    are those that are over, the last one too once the action has ended.
    """

    name: str
    parent: str = ""
    kind: Kind = "task"
    task: str = ""
    environment: str = ""
    group: str = ""
    image: str = ""
    bundle: str = ""
    phase: Phase = Phase.QUEUED
    attempt: int = 0
    retry: int = 0
    queued: float = 0.0
    started: float | None = None
    ended: float | None = None
    source: str = ""
    output_uri: str = ""
    value: str = ""
    asks: str = ""
    prompt: str = ""
    report: str = ""
    log: str = ""
    error: ErrorInfo | None = None
    run: str = ""
    short_name: str = ""
    queue: str = ""
    interruptible: bool = False
    attempts: tuple[Attempt, ...] = ()

    def replace(self, **changes: Any) -> ActionRecord:
        # Not `dataclasses.replace`, which looks at what each field is, nine times for each action.
        return ActionRecord(**{**dict(zip(_FIELDS, _values(self), strict=True)), **changes})

    def attempted(self, now: float) -> ActionRecord:
        """The record with its current attempt, if it has one that is not there yet, among those that are over."""
        begun = self.attempt > 0 and self.started is not None and not self.source
        if not begun or any(attempt.number == self.attempt for attempt in self.attempts):
            return self
        phase = self.phase if self.phase.terminal else Phase.FAILED
        error = self.error.headline if self.error is not None else ""
        return self.replace(attempts=(*self.attempts, Attempt(self.attempt, self.started or now, now, phase, error)))

    def to_json(self) -> dict[str, Any]:
        # Not `asdict`, which copies every text, three times for each action.
        out = {k: v for k in _FIELDS if (v := getattr(self, k)) not in ("", None) and (v or k not in _OPTIONAL)}
        if self.error is not None:
            out["error"] = dataclasses.asdict(self.error)
        if self.attempts:
            out["attempts"] = [{k: v for k in _OF_ATTEMPT if (v := getattr(one, k)) != ""} for one in self.attempts]
        return out | {"phase": self.phase.value}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ActionRecord:
        """What :meth:`to_json` gave; raises :class:`RunError` for anything else."""
        known = {f.name for f in dataclasses.fields(cls)}
        try:
            fields = {k: _typed(k, v) for k, v in data.items() if k in known}
            fields["phase"] = Phase(fields.get("phase", Phase.QUEUED))
            if fields.get("error") is not None:
                fields["error"] = ErrorInfo(**fields["error"])
            fields["attempts"] = tuple(map(Attempt.from_json, fields.get("attempts", ())))
            return cls(**fields)
        except (ValueError, TypeError, AttributeError) as e:
            raise RunError(
                f"the journal's record of an action is none: {e}",
                hint="the run's journal was changed by hand; start the run anew",
            ) from None


_FIELDS = tuple(f.name for f in dataclasses.fields(ActionRecord))
_OF_ATTEMPT = tuple(f.name for f in dataclasses.fields(Attempt))
_values = operator.attrgetter(*_FIELDS)
_OPTIONAL = frozenset({"retry", "interruptible", "attempts"})


def _typed(name: str, value: Any) -> Any:
    kinds: tuple[type, ...] = (str,)
    if name in ("queued", "started", "ended"):
        kinds = (int, float) if name == "queued" else (int, float, type(None))
    elif name in ("attempt", "retry", "error"):
        kinds = (dict, type(None)) if name == "error" else (int,)
    elif name in ("interruptible", "attempts"):
        kinds = (bool,) if name == "interruptible" else (list,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds != (bool,)):
        raise ValueError(f"{name}: expected {kinds[0].__name__}, found {type(value).__name__}")
    return value


_SOON = 0.05  # seconds
_Waits = tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]


_written = json.JSONEncoder(ensure_ascii=False).encode


def _line(entry: dict[str, Any]) -> bytes:
    return _written(entry).encode() + b"\n"


class Journal:
    """The writing end. Writes are done in order by one thread, so that a slow disk never stops the service."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by close())
        self._mend()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._lock = threading.Lock()
        self._waiting: list[tuple[bytes, _Waits | None]] = []
        self._begun = False  # what waits is about to be written
        self._timer: asyncio.TimerHandle | None = None
        self._failure: Exception | None = None  # of what nobody waited for

    def _mend(self) -> None:
        """End a line that a crash tore, so that the next one stands alone."""
        size = self._path.stat().st_size
        if size:
            with open(self._path, "rb") as f:
                f.seek(size - 1)
                if f.read(1) != b"\n":
                    self._file.write(b"\n")

    async def append(self, entry: dict[str, Any], *, durable: bool = False) -> None:
        """Write one line soon; with ``durable`` it is on the disk when this returns. Raises OSError, then for any line
        before it, too."""
        if not durable:
            self._note(entry)
            return
        loop = asyncio.get_running_loop()
        written = loop.create_future()
        with self._lock:
            self._waiting.append((_line(entry), (loop, written)))
        self._begin()
        await written

    def _note(self, entry: dict[str, Any]) -> None:
        """With the next that somebody waits for, or by itself."""
        with self._lock:
            self._waiting.append((_line(entry), None))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SOON, self._due)

    def _due(self) -> None:
        self._timer = None
        self._begin()

    def _begin(self) -> None:
        with self._lock:
            begin = bool(self._waiting) and not self._begun
            self._begun = self._begun or begin
        if begin:
            self._writer.submit(self._write)

    async def enqueued(self, action: actions_service_pb2.Action, record: ActionRecord, *, again: bool) -> None:
        """An action is about to be taken on, ``again`` where one of its name had ended. Here a run that was killed is
        resumed as another, so nothing is kept of it."""

    async def action(self, record: ActionRecord) -> None:
        await self.append({"action": record.to_json()}, durable=record.phase.terminal)

    def _write(self) -> None:
        """Write all that waits at once: what came while the disk was waited for costs no wait of its own."""
        with self._lock:
            batch, self._waiting, self._begun = self._waiting, [], False
        waits = [waits for _, waits in batch if waits is not None]
        failure, self._failure = self._failure, None
        try:
            lines = memoryview(b"".join(line for line, _ in batch))
            while lines:
                lines = lines[self._file.write(lines) :]
            if waits:
                os.fsync(self._file.fileno())
        except Exception as e:  # whatever it is: who waits would wait for ever
            failure = e
        if not waits:
            self._failure = failure
        for loop in {loop for loop, _ in waits}:
            with contextlib.suppress(RuntimeError):  # it has ended, and nobody waits
                loop.call_soon_threadsafe(_tell, [w for its, w in waits if its is loop], failure)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._begin()
        self._writer.shutdown()
        self._file.close()


def _tell(waiting: Iterable[asyncio.Future[None]], failure: Exception | None) -> None:
    for written in waiting:
        if written.done():  # who waited is gone
            continue
        if failure is None:
            written.set_result(None)
        else:
            written.set_exception(failure)


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Its entries in order; none where the file is missing. Raises :class:`RunError` for a broken line amid them."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            yield parse_object(line)
        except ValueError as e:
            # A torn line is the last that a process wrote; a resumed run goes on after it.
            if number >= len(lines) - 1 or not line.rstrip().endswith(b"}"):
                continue
            raise RunError(
                f"{path}:{number}: expected a JSON object, found {line[:80]!r}",
                hint="the run's journal was changed by hand; start the run anew",
            ) from e
