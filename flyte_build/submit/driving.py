"""What every run needs, wherever it runs: its root action, its facts, and an engine and a service until its end.

Where attempts run, where documents lie and how tasks reach the service is the launcher's affair (``run`` for this
machine, ``kubernetes`` for a cluster). Nothing here touches a run's folder but for its facts.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flyteidl2.actions import actions_service_pb2
from flyteidl2.common import identifier_pb2
from flyteidl2.task import common_pb2
from flyteidl2.workflow import run_definition_pb2

from ..kernel.errors import RunError
from ..kernel.values import dataclass
from .action import ROOT_ACTION, Launcher, Phase, RootAction
from .attempt import Attempts, RunFacts
from .cache_keys import cache_key
from .control.application import Control
from .engine import Engine
from .journal import ActionRecord, Journal
from .observer import Observer
from .requests import Inbox, obey
from .restored import Restored
from .reuse import Reuse
from .scheduler import Scheduler
from .service import Service
from .storage import RunFolder
from .template import pin_root, read_task

__all__ = [
    "DOMAIN",
    "ORG",
    "PROJECT",
    "Drive",
    "check_name",
    "described",
    "new_name",
    "require_image",
    "start_of",
    "write_facts",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# What the runtime demands and a run without a backend has no other name for.
ORG, PROJECT, DOMAIN = "local", "flyte-build", "development"


_LONGEST_DOC = 2000


def new_name() -> str:
    """A fresh name for a run: sorts by time, and is short enough to type."""
    return f"r{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def check_name(name: str) -> None:
    """Raises :class:`RunError` for what is no name of a run."""
    if not _NAME.fullmatch(name):
        raise RunError(f"`{name}` is no name for a run: expected letters, digits, `.`, `_` and `-`")


def require_image(root: RootAction, images: Mapping[str, str]) -> None:
    """Raises :class:`RunError` where the root's environment has no image."""
    if root.environment not in images:
        raise RunError(f"environment {root.environment!r} has no image; images are known for {', '.join(images)}")


def start_of(
    folder: RunFolder,
    root: RootAction,
    images: Mapping[str, str],
    references: Mapping[str, str],
    *,
    bundle: tuple[str, str],
    started: str | None,
    inline: Mapping[str, int],
) -> tuple[RunFacts, actions_service_pb2.Action]:
    """What is the same for every action of the run, and the root action as a task would enqueue it.

    ``images`` maps environments to manifests' digests and ``references`` to what their tasks are told, ``bundle`` is
    the code's digest and the URI that tasks have it from, ``started`` that of the run which is resumed.
    """
    spec = pin_root(root.task_spec, references, root.environment, bundle[1])
    task = read_task(spec, gangs=folder.storage.remote)
    run = RunFacts(
        folder=folder,
        images={reference: images[env] for env, reference in references.items()},
        bundle=bundle[0],
        started=started or datetime.now(UTC).isoformat(timespec="seconds"),
        org=task.org or ORG,
        project=task.project or PROJECT,
        domain=task.domain or DOMAIN,
        env=root.env,
        inline=dict(inline),
        bundles={bundle[1]: bundle[0]},
    )
    action = actions_service_pb2.Action(
        action_id=identifier_pb2.ActionIdentifier(run=run.identifier, name=ROOT_ACTION),
        input_uri=folder.storage.uri(folder.inputs(ROOT_ACTION)),
        run_output_base=folder.storage.uri(folder.meta),
        task=run_definition_pb2.TaskAction(spec=spec),
    )
    if key := cache_key(spec, common_pb2.Inputs.FromString(root.inputs)):
        action.task.cache_key.value = key
    if root.queue:  # which older SDKs cannot say, and their messages have no field for
        action.task.queue = root.queue
    return run, action


def described(
    run: RunFacts,
    root: RootAction,
    images: Mapping[str, str],
    resumed: str | None,
    invocation: Mapping[str, Any],
    docs: Mapping[str, str],
) -> dict[str, Any]:
    """``run.json``: what was asked for. ``docs``: what tasks say of themselves, by their full names."""
    return {
        "schema": 1,
        "name": run.folder.name,
        "task": root.task,
        "environment": root.environment,
        "started": time.time(),
        "run_start_time": run.started,
        "bundle": run.bundle,
        "images": dict(images),
        "resume": resumed,
        "invocation": dict(invocation),
        "docs": {name: text[:_LONGEST_DOC] for name, text in docs.items() if text},
    }


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(facts, indent=1) + "\n")
    temporary.replace(path)


@dataclass(frozen=True, slots=True)
class Drive:
    """One run's engine, ready to go. ``serving`` has the service reached by tasks for the time of its block; what
    people ask of the run meanwhile comes by ``inbox``; ``control`` has what tasks ask of a backend besides calls."""

    run: RunFacts
    launcher: Launcher
    scheduler: Scheduler
    reuse: Reuse
    journal: Journal
    observer: Observer
    serving: Callable[[Service], AbstractAsyncContextManager[None]]
    inbox: Inbox
    control: Control | None = None

    async def go(
        self, root: actions_service_pb2.Action, before: Sequence[Restored] = ()
    ) -> tuple[ActionRecord, tuple[ActionRecord, ...]]:
        """Run to the end: the root's last record, and all. ``before`` is what an earlier driver of this run had."""
        engine = Engine(Attempts(self.run, self.launcher, self.scheduler), self.reuse, self.journal, self.observer)
        phase = Phase.ABORTED
        try:
            try:
                await engine.restore(before)
                others = self.control.routes(engine, self.run, self.observer) if self.control is not None else None
                service = Service(engine, self.run.identifier, others)
                async with self.serving(service), obey(self.inbox, engine, self.observer):
                    try:
                        if not before:
                            await engine.enqueue(root)
                        record = await engine.wait(ROOT_ACTION)
                        phase = record.phase
                        await engine.rest()
                    finally:
                        await engine.close()
            finally:
                await engine.close()
            return record, tuple(engine.records())
        finally:
            await self.journal.append({"run": {"phase": phase.value, "ended": time.time()}}, durable=True)
            self.journal.close()
