"""One task's attempts: prepare, launch, judge, and try again as its retry policy says.

The runtime contract's environment and the placeholders' values are made here, from storage's names and nothing of
this machine's, so any launcher can use them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from flyteidl2.common import identifier_pb2

from ..kernel.values import dataclass, field
from . import door
from .action import ERROR, INLINE, OUTPUTS, REPORT, ErrorInfo, Launcher, LaunchRequest, Left, Outcome, Phase
from .journal import ActionRecord
from .scheduler import Scheduler
from .storage import RunFolder
from .template import Task
from .verdict import Verdict, judge

__all__ = ["Attempts", "RunFacts", "left"]

LOG_TAIL = 16 << 10
# Attempts that an action may lose by no fault of its own before that counts.
MOST_LOST = 100


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is the same for every action of a run.

    ``images`` maps each pinned reference to its manifest's digest, ``bundle`` is the code's digest, ``started`` the
    run's start as the runtime reads it (ISO 8601; a resumed run keeps the first one's), ``env`` holds for every task.
    ``inline`` maps the names of tasks to their ``max_inline_io_bytes``, which is not in their specification.
    ``bundles`` are the digests of code by the URI that tasks have it from. What the run learns of tasks that it calls
    by name is added to ``images``, ``inline`` and ``bundles``.
    """

    folder: RunFolder
    images: dict[str, str]
    bundle: str
    started: str
    org: str
    project: str
    domain: str
    env: Mapping[str, str] = field(default_factory=dict)
    inline: dict[str, int] = field(default_factory=dict)
    bundles: dict[str, str] = field(default_factory=dict)

    def code(self, uri: str) -> str:
        """The digest of the code at ``uri``, by default the run's own; empty for code that the run does not know."""
        return self.bundles.get(uri, "") if uri else self.bundle

    def most_inline(self, task: str) -> int:
        """The most bytes that the inputs, or outputs, of ``task`` may have."""
        return max(INLINE, self.inline.get(task, 0))

    @property
    def identifier(self) -> identifier_pb2.RunIdentifier:
        return identifier_pb2.RunIdentifier(
            org=self.org, project=self.project, domain=self.domain, name=self.folder.name
        )


@dataclass(frozen=True, slots=True)
class Attempts:
    """Runs tasks for one run."""

    facts: RunFacts
    launcher: Launcher
    scheduler: Scheduler
    # The last attempt of each action, where no folder of this machine tells of it.
    _tried: dict[str, int] = field(default_factory=dict)

    async def run(
        self,
        record: ActionRecord,
        task: Task,
        spec: bytes,
        depth: int,
        changed: Callable[[ActionRecord], Awaitable[None]],
    ) -> ActionRecord:
        """Try until success, a failure that stands, or no retries left; gives the terminal record, without its end.

        ``spec`` is the whole description of ``task``, ``changed`` is told when an attempt starts, before it does, and
        ``depth`` levels lie above the action.
        """
        folder = self.facts.folder
        # An attempt that an earlier driver of the run began is gone on with.
        begun = record.phase is Phase.RUNNING
        attempt = record.attempt if begun else self._last(record.name) + 1
        retry, lost = record.retry if begun else 0, 0
        while True:
            log = folder.log(record.name, attempt)
            try:
                async with asyncio.timeout(task.queue_timeout) as turn:
                    await self.scheduler.turn(record.name, depth, task.share)
            except TimeoutError:
                if not turn.expired():
                    raise
                error = ErrorInfo("QUEUED_TIMEOUT_EXCEEDED", f"not started within {task.queue_timeout:g} s")
                return record.replace(phase=Phase.TIMED_OUT, error=error)
            try:
                if not begun:
                    record = record.replace(
                        phase=Phase.RUNNING,
                        attempt=attempt,
                        retry=retry,
                        started=time.time(),
                        log=folder.storage.shown(log),
                    )
                    await changed(record)
                outcome = await self.launcher.launch(self._request(record, task, spec, attempt, retry, log))
            finally:
                self.scheduler.over(record.name)
            if folder.storage.remote:
                verdict, report = self._judge_left(record.name, attempt, outcome, task, log)
            elif self._well(record.name, attempt, outcome):
                verdict, report = Verdict(Phase.SUCCEEDED), ""
            else:
                verdict, report = await asyncio.to_thread(self._judge, record.name, attempt, outcome, task, log)
            if verdict.phase is Phase.SUCCEEDED:
                uri = folder.storage.uri(folder.outcome(record.name, attempt))
                return record.replace(phase=Phase.SUCCEEDED, output_uri=uri, error=None, report=report)
            record = record.replace(error=verdict.error, report=report)
            over = record.replace(phase=verdict.phase).attempted(time.time())
            record, begun, attempt = record.replace(attempts=over.attempts), False, attempt + 1
            if verdict.uncounted and lost < MOST_LOST:
                lost += 1
                continue
            if not verdict.recoverable or retry == task.retries:
                return record.replace(phase=verdict.phase)
            if task.backoff is not None:
                await asyncio.sleep(task.backoff.delay(retry))
            retry += 1

    def _last(self, name: str) -> int:
        """The highest attempt that there was, 0 if there was none."""
        return max(self.facts.folder.last_attempt(name), self._tried.get(name, 0))

    def _make_folders(self, name: str, attempt: int, log: Path) -> None:
        """Where an attempt of this machine writes to, and what is taken over of it."""
        folder = self.facts.folder
        for path in (folder.outcome(name, attempt), log.parent):
            path.mkdir(parents=True, exist_ok=True)
        with door.folder(folder.path) as top:
            for above in (folder.meta, folder.raw):
                door.make_folders(top, f"{above.name}/{name}/{attempt}")

    def _has_folder(self, path: Path) -> bool:
        folder = self.facts.folder
        with door.folder(folder.path) as top:
            return door.is_folder(top, path.relative_to(folder.path).as_posix())

    def _request(
        self, record: ActionRecord, task: Task, spec: bytes, attempt: int, retry: int, log: Path
    ) -> LaunchRequest:
        facts, folder, name = self.facts, self.facts.folder, record.name
        storage = folder.storage
        if storage.remote:
            self._tried[name] = attempt
        else:
            self._make_folders(name, attempt, log)
        previous = folder.checkpoints(name, attempt - 1)
        has_checkpoint = attempt > 1 and self._has_folder(previous)
        values = {
            "input": storage.uri(folder.inputs(name)),
            "outputPrefix": storage.uri(folder.attempt(name, attempt)),
            "rawOutputDataPrefix": storage.uri(folder.data(name, attempt)),
            "checkpointOutputPrefix": storage.uri(folder.checkpoints(name, attempt)),
            # Two quotes are how Flyte's backend says "none" (the runtime's option must have a value).
            "prevCheckpointPrefix": storage.uri(previous) if has_checkpoint else '""',
            "runName": folder.name,
            "actionName": name,
            "runStartTime": facts.started,
        }
        env = {
            **facts.env,
            **task.env,
            "ACTION_NAME": name,
            "RUN_NAME": folder.name,
            "_U_RUN_BASE": storage.uri(folder.meta),
            "_U_ORG_NAME": facts.org,
            "FLYTE_INTERNAL_EXECUTION_PROJECT": facts.project,
            "FLYTE_INTERNAL_EXECUTION_DOMAIN": facts.domain,
            "FLYTE_ATTEMPT_NUMBER": str(retry),
            # The runtime's storage does not make folders on POSIX file systems unless told.
            "FSSPEC_FILE_AUTO_MKDIR": "1",
            "_U_USE_ACTIONS": "1",
            "_U_INSECURE": "true",
        }
        return LaunchRequest(
            run=folder.name,
            action=name,
            attempt=attempt,
            task=task.name,
            image=record.image,
            args=task.render(values),
            env=env,
            log=log,
            resources=task.resources,
            secrets=task.secrets,
            timeout=task.timeout,
            task_spec=spec,
            environment=task.environment,
            inline=self.facts.most_inline(task.name),
            queue=record.queue,
            reuse=task.reuse,
        )

    def _judge_left(self, name: str, attempt: int, outcome: Outcome, task: Task, log: Path) -> tuple[Verdict, str]:
        """As :meth:`_judge`, of what the launcher says that was left."""
        folder, left = self.facts.folder, outcome.left or Left()
        tail = "" if left.outputs else _tail(log)
        verdict = judge(
            outcome, left.error, outputs=left.outputs, wanted=task.has_outputs, timeout=task.timeout, log=tail
        )
        return verdict, folder.storage.shown(folder.outcome(name, attempt) / REPORT) if left.report else ""

    def _well(self, name: str, attempt: int, outcome: Outcome) -> bool:
        """Whether it left outputs that are taken over, and nothing else to read: most do, and a look costs less than a
        thread."""
        folder = self.facts.folder
        below = folder.attempt(name, attempt).relative_to(folder.path).as_posix()
        with door.folder(folder.path) as top, door.folder(folder.outcome(name, attempt)) as kept:
            left = any(door.is_there(top, f"{below}/{document}") for document in (ERROR, REPORT))
            return (
                outcome == Outcome(0) and not left and not door.is_there(kept, REPORT) and door.has_file(kept, OUTPUTS)
            )

    def _judge(self, name: str, attempt: int, outcome: Outcome, task: Task, log: Path) -> tuple[Verdict, str]:
        folder = self.facts.folder
        written, kept = folder.attempt(name, attempt), folder.outcome(name, attempt)
        error: bytes | None = None
        below = written.relative_to(folder.path).as_posix()
        with door.folder(folder.path) as top, door.folder(kept) as into:
            for document, limit in ((OUTPUTS, self.facts.most_inline(task.name)), (REPORT, INLINE)):
                if not door.has_file(into, document):
                    with contextlib.suppress(FileNotFoundError, door.Refused):
                        door.take(top, f"{below}/{document}", into, document, limit)
            try:
                error = door.read(top, f"{below}/{ERROR}")
            except FileNotFoundError:
                pass
            except door.Refused as e:
                outcome = Outcome(outcome.exit_code, "error", f"its error.pb cannot be read: {e}", "BadErrorFile")
            has_outputs, has_report = door.has_file(into, OUTPUTS), door.has_file(into, REPORT)
        verdict = judge(
            outcome, error, outputs=has_outputs, wanted=task.has_outputs, timeout=task.timeout, log=_tail(log)
        )
        return verdict, folder.storage.shown(kept / REPORT) if has_report else ""


def left(deadline: float | None, queued: float, now: float) -> float | None:
    """Seconds that are left of a deadline ``now``: it counts from when the action was queued, and over all attempts."""
    return None if deadline is None else max(0.0, deadline - max(0.0, now - queued))


def _tail(path: Path) -> str:
    try:
        with open(path, "rb") as f:
            f.seek(max(path.stat().st_size - LOG_TAIL, 0))
            return f.read().decode(errors="replace")
    except OSError:
        return ""
