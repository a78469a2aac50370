"""An engine with a launcher that is only a function: no process, no sandbox, no SDK."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from flyteidl2.actions import actions_service_pb2 as pb
from flyteidl2.common import identifier_pb2
from flyteidl2.core import execution_pb2, literals_pb2
from flyteidl2.task import task_definition_pb2

from flyte_build.submit.action import INLINE, LaunchRequest, Outcome
from flyte_build.submit.attempt import Attempts, RunFacts
from flyte_build.submit.cache import TaskCache
from flyte_build.submit.engine import AlreadyExists, Engine
from flyte_build.submit.journal import ActionRecord, Journal
from flyte_build.submit.observer import Collector
from flyte_build.submit.results import LocalResults
from flyte_build.submit.reuse import Reuse
from flyte_build.submit.scheduler import Scheduler
from flyte_build.submit.storage import Storage

IMAGE = "flyte-build.local/env@sha256:aa"
Body = Callable[[LaunchRequest], Awaitable[Outcome]]


class Functions:
    """A launcher whose tasks are coroutines by task name; one that is missing writes its outputs at once."""

    def __init__(self) -> None:
        self.bodies: dict[str, Body] = {}
        self.requests: list[LaunchRequest] = []
        self.settled: list[tuple[str, str, int]] = []

    async def launch(self, request: LaunchRequest) -> Outcome:
        self.requests.append(request)
        body = self.bodies.get(request.task)
        return await body(request) if body is not None else Outcome(0)

    async def settle(
        self, action: str, document: str, target: Path, kind: Literal["inputs", "outputs"], limit: int = INLINE
    ) -> None:
        self.settled.append((target.parent.name, kind, limit))

    async def fetch(self, document: Path) -> None:
        return None


class World:
    """An engine and what it stands on. ``children`` of actions are enqueued through ``call``."""

    def __init__(
        self,
        folder: Path,
        previous: dict[str, ActionRecord] | None = None,
        cpu: float = 4,
        inline: dict[str, int] | None = None,
    ) -> None:
        self.storage = Storage(folder / "runs")
        self.folder = self.storage.run("run")
        self.folder.meta.mkdir(parents=True)
        self.launcher = Functions()
        self.observer = Collector()
        self.journal = Journal(self.folder.journal)
        facts = RunFacts(self.folder, {IMAGE: "sha256:aa"}, "sha256:bb", "2026-01-01T00:00:00+00:00", "o", "p", "d")
        facts = dataclasses.replace(facts, inline=inline or {})
        self.cache = TaskCache(folder / "cache", self.storage)
        reuse = Reuse(LocalResults(self.storage, self.cache), self.observer, previous or {})
        attempts = Attempts(facts, self.launcher, Scheduler(cpu, 1 << 40))
        self.facts = facts
        self.engine = Engine(attempts, reuse, self.journal, self.observer)
        self.run = facts.identifier

    def task(self, task: str, name: str = "a0", parent: str = "", **metadata: Any) -> pb.Action:
        cache_key = metadata.pop("cache_key", None)
        spec = task_definition_pb2.TaskSpec()
        template = spec.task_template
        template.id.name = task
        template.container.image = metadata.pop("image", IMAGE)
        template.container.args.extend(["a0", "--inputs", "{{.input}}", "--outputs-path", "{{.outputPrefix}}"])
        for key, value in metadata.items():
            field = getattr(template.metadata, key)
            if hasattr(field, "CopyFrom"):
                field.CopyFrom(value)
            else:
                setattr(template.metadata, key, value)
        action = pb.Action(action_id=self.id(name), parent_action_name=parent)
        action.task.spec.CopyFrom(spec)
        action.input_uri = self.storage.uri(self.folder.inputs(name))
        if cache_key:
            action.task.cache_key.value = cache_key
        return action

    def id(self, name: str) -> identifier_pb2.ActionIdentifier:
        return identifier_pb2.ActionIdentifier(run=self.run, name=name)

    async def call(self, request: LaunchRequest, task: str, name: str, **metadata: Any) -> ActionRecord:
        """What the runtime does for a call: enqueue if it is not known, then watch to its end."""
        with contextlib.suppress(AlreadyExists):
            await self.engine.enqueue(self.task(task, name, request.action, **metadata))
        return await self.engine.wait(name)

    def fail(self, request: LaunchRequest, *, recoverable: bool = True) -> Outcome:
        kinds = execution_pb2.ContainerError
        kind = kinds.RECOVERABLE if recoverable else kinds.NON_RECOVERABLE
        document = execution_pb2.ErrorDocument(error=kinds(code="Oops", message="words", kind=kind))
        path = self.folder.attempt(request.action, request.attempt) / "error.pb"
        path.write_bytes(document.SerializeToString())
        return Outcome(0)

    async def go(self, task: str = "main", **metadata: Any) -> ActionRecord:
        try:
            await self.engine.enqueue(self.task(task, **metadata))
            return await self.engine.wait("a0")
        finally:
            await self.engine.close()
            self.journal.close()


def retries(count: int, base: float = 0.0, factor: float = 1.0, cap: float | None = None) -> literals_pb2.RetryStrategy:
    out = literals_pb2.RetryStrategy(retries=count)
    if base:
        out.backoff.base.FromMilliseconds(int(base * 1000))
        out.backoff.factor = factor
        if cap is not None:
            out.backoff.cap.FromMilliseconds(int(cap * 1000))
    return out
