"""The run itself: every action from enqueued to terminal, whoever asks and wherever it runs.

    enqueue ─▶ reuse (resumed run, cache)? ─▶ attempts: share of the machine ─▶ launcher ─▶ verdict ─▶ again?
                                                                                          └▶ journal ─▶ watchers

The journal has an end before anybody hears of it. An action that ends takes its living children with it. What goes
wrong in here, or in a launcher, ends the action as FAILED of kind system: nobody ever waits for what will not come. It
speaks flyte's protobuf and no protocol (see ``service``), and knows neither processes nor sandboxes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Iterable
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from flyteidl2.actions import actions_service_pb2
from flyteidl2.core import literals_pb2
from google.protobuf.message import DecodeError

from . import door
from .action import ROOT_ACTION, ErrorInfo, Phase
from .attempt import Attempts, left
from .audience import Audience
from .conditions import answered, paused
from .journal import ActionRecord, Journal
from .live import AlreadyExists, Call, ChildRun, Live, NotFound
from .observer import Observer
from .restored import Restored
from .reuse import Reuse
from .specs import serialized
from .template import Task, not_pinned, read_task
from .traces import recorded

__all__ = ["AlreadyExists", "ChildRun", "Engine", "NotFound"]


class Engine:
    """One run's actions. For one event loop."""

    def __init__(self, attempts: Attempts, reuse: Reuse, journal: Journal, observer: Observer) -> None:
        self._facts = attempts.facts
        self._scheduler = attempts.scheduler
        self._attempts = attempts
        self._reuse = reuse
        self._journal = journal
        self._observer = observer
        self._actions: dict[str, Live] = {}
        self._arriving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._audience = Audience()
        self._closing = False

    # -- what the service asks --------------------------------------------------------------------------------

    async def enqueue(self, action: actions_service_pb2.Action, child: ChildRun | None = None) -> None:
        """Take an action on, the root of a run of its own where there is a ``child``, which its parent does not end.

        Raises :class:`AlreadyExists` unless it is new, or ended without success before.
        """
        name = action.action_id.name
        # A caller that got no answer in time asks again, while the first is still being written down.
        async with self._arriving.setdefault(name, asyncio.Lock()):
            parent = self._parent(action)
            known = self._actions.get(name)
            if known is not None and (known.announced or not known.record.phase.terminal):
                raise AlreadyExists(name)
            record = ActionRecord(
                name=name,
                parent=action.parent_action_name,
                kind=action.WhichOneof("spec"),
                group=action.group,
                bundle=self._facts.bundle,
                queued=time.time(),
                run=name if child is not None else "",
            )
            if record.kind != "trace":
                await self._journal.enqueued(action, record, again=known is not None)
                parent = self._parent(action)
            state = self._actions[name] = Live.below(record, parent, child)
            if record.kind == "trace":
                await self._trace(state, action)
            else:
                self._take_on(state, action)

    def _parent(self, action: actions_service_pb2.Action) -> Live | None:
        """The living parent of an action, none of the root's; raises :class:`NotFound` where there is none."""
        parent = self._actions.get(action.parent_action_name)
        alive = parent is not None and not parent.record.phase.terminal
        if self._closing or not (alive or (action.action_id.name == ROOT_ACTION and not action.parent_action_name)):
            raise NotFound(f"{action.parent_action_name or 'the run'} does not run")
        return parent

    def _take_on(self, state: Live, action: actions_service_pb2.Action) -> None:
        parent = self._actions.get(state.record.parent)
        if parent is not None:
            parent.calls(state.record.name)
            parent.alive += 1
            self._scheduler.block(state.record.parent)
        if state.record.kind == "condition":
            state.signal = asyncio.get_running_loop().create_future()
        work = self._condition(state, action) if state.record.kind == "condition" else self._task(state, action)
        self._begin(state, work)

    async def restore(self, before: Iterable[Restored]) -> None:
        """Go on from what an earlier driver of this run had, parents first. Nothing that ran runs anew."""
        for found in before:
            record = found.record
            parent = self._actions.get(record.parent)
            state = self._actions[record.name] = Live.below(record, parent, found.child)
            state.announced = found.announced
            if record.phase.terminal or found.action is None:
                state.over()
                if parent is not None:
                    parent.calls(record.name)
            else:
                self._take_on(state, found.action)
            self._observer.on_action(record)

    async def watch(self, parent: str) -> AsyncGenerator[ActionRecord | None, None]:
        """The state of every child of ``parent``, then None, then each change as it happens, until ``parent`` ends.

        Failures before the parent's current attempt are not told: the runtime would take them for the outcome of
        its own calls instead of enqueuing them again.
        """
        with self._audience.of_calls(parent) as updates:
            await self._adopt_traces(parent)
            calls = [s for s in self._actions.values() if s.record.parent == parent and not s.record.run]
            for state in [s for s in calls if s.announced]:
                yield state.record
            yield None
            watcher = self._actions.get(parent)
            if watcher is None or watcher.ended.is_set():
                return
            while (update := await updates.get()) is not None:
                yield update

    async def abort(self, name: str) -> None:
        """End an action and everything below it. Raises :class:`NotFound` where there is nothing to end."""
        state = self._actions.get(name)
        if state is None or state.record.phase.terminal:
            raise NotFound(name)
        self._stop(state)

    async def signal(self, name: str, value: literals_pb2.Literal) -> None:
        """Give a waiting condition its value. Raises :class:`NotFound` where none waits under this name."""
        state = self._actions.get(name)
        if state is None or state.signal is None or state.signal.done():
            raise NotFound(name)
        state.signal.set_result(value.SerializeToString())

    def waiting(self, name: str) -> str | None:
        """The action of the condition called ``name`` that waits for its signal."""
        return next((r.name for r in self.records() if r.phase is Phase.PAUSED and name in (r.name, r.task)), None)

    async def wait(self, name: str) -> ActionRecord:
        """The action's last record, once it and everything below it have ended."""
        await (state := self._actions[name]).ended.wait()
        return state.record

    async def follow(self, name: str) -> AsyncGenerator[ActionRecord, None]:
        """The action's record, and each that takes its place, to the last."""
        with self._audience.of_action(name) as updates:
            record = self._actions[name].record
            yield record
            while not record.phase.terminal:
                yield (record := await updates.get())

    async def rest(self) -> None:
        """Return when no child run goes on."""
        while going := [s for s in self._actions.values() if s.record.run and not s.ended.is_set()]:
            await going[0].ended.wait()

    def abort_all(self) -> None:
        """End the root, and every child run."""
        for state in list(self._actions.values()):
            if state.record.run or state.record.name == ROOT_ACTION:
                self._stop(state)

    def record(self, name: str) -> ActionRecord | None:
        return self._actions[name].record if name in self._actions else None

    def records(self) -> list[ActionRecord]:
        return [state.record for state in self._actions.values()]

    async def close(self) -> None:
        """Abort whatever lives; returns when nothing does."""
        self._closing = True
        for state in self._actions.values():
            self._stop(state)
        await asyncio.gather(*(s.keeper for s in self._actions.values() if s.keeper is not None))

    # -- one action -----------------------------------------------------------------------------------------------

    def _begin(self, state: Live, work: Coroutine[Any, Any, ActionRecord]) -> None:
        state.job = asyncio.create_task(work)
        # Two tasks, because one that is cancelled before its first step never gets to say that it ended.
        state.keeper = asyncio.create_task(self._keep(state, state.job))

    async def _keep(self, state: Live, job: asyncio.Task[ActionRecord]) -> None:
        """See the action to its end, whatever that is; then end its children, and tell."""
        await asyncio.wait([job])
        if job.cancelled():
            record = state.record.replace(phase=Phase.ABORTED, error=ErrorInfo("Aborted", "the action was aborted"))
        elif (failure := job.exception()) is not None:
            error = ErrorInfo(type(failure).__name__, f"flyte-build: {failure}", "system")
            record = state.record.replace(phase=Phase.FAILED, error=error)
        else:
            record = job.result()
        below = [self._actions[n] for n in state.children]
        living = [child for child in below if not child.record.phase.terminal and not child.record.run]
        for child in living:
            self._stop(child)
        for child in living:
            await child.ended.wait()
        await self._publish(state, record.replace(ended=time.time()).attempted(time.time()))
        state.over()
        self._audience.no_more_calls(record.name)
        parent = self._actions.get(record.parent)
        if parent is not None:
            parent.alive -= 1
            if parent.alive == 0:
                self._scheduler.unblock(record.parent)

    def _stop(self, state: Live) -> None:
        if state.job is not None:
            state.job.cancel()

    async def _publish(self, state: Live, record: ActionRecord) -> None:
        state.record = record
        try:
            await self._journal.action(record)
        except OSError as e:
            self._observer.warn(f"the run's journal cannot be written: {e}")
        self._audience.tell(record)
        self._observer.on_action(record)

    async def _trace(self, state: Live, action: actions_service_pb2.Action) -> None:
        """A trace has happened already when it is told of; it is only recorded."""
        parent = self._actions[state.record.parent].record
        folder, launcher = self._facts.folder, self._attempts.launcher
        await self._publish(state, await recorded(state.record, action.trace, parent, folder, launcher, self._observer))
        state.over()

    async def _adopt_traces(self, parent: str) -> None:
        """Make the resumed run's traces of ``parent`` this run's: its runtime looks for them before it calls."""
        watcher = self._actions.get(parent)
        for record in await self._reuse.traces(watcher.record, self._actions) if watcher else ():
            await self._reuse.show(record.output_uri)
            state = self._actions[record.name] = Live(record, 0)
            await self._publish(state, record.replace(source="resume"))
            state.over()

    async def _condition(self, state: Live, action: actions_service_pb2.Action) -> ActionRecord:
        assert state.signal is not None
        waiting = paused(state.record, action.condition)
        await self._publish(state, waiting)
        return await answered(waiting, action.condition, state.signal)

    async def _task(self, state: Live, action: actions_service_pb2.Action) -> ActionRecord:
        try:
            task = read_task(action.task.spec, gangs=self._facts.folder.storage.remote)
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as e:
            # Unsupported is a ValueError; the others say that a pod's specification is none.
            state.record = state.record.replace(task=action.task.spec.task_template.id.name)
            return state.record.replace(phase=Phase.FAILED, error=ErrorInfo("Unsupported", str(e)))
        image = self._facts.images.get(task.image, "")
        code = self._facts.code(task.bundle)
        record = state.record.replace(image=image, bundle=code, **task.shown, queue=getattr(action.task, "queue", ""))
        task = replace(task, env={**state.within.env, **task.env}) if state.within else task
        call = Call(action.input_uri, action.task.cache_key.value, serialized(action.task.spec))
        del action  # of a map's thousands, each has its whole description
        if record.phase is not Phase.RUNNING:
            await self._publish(state, record)
        if not image:
            return record.replace(phase=Phase.FAILED, error=ErrorInfo("ImageNotPinned", not_pinned(task)))
        try:
            async with asyncio.timeout(left(task.deadline, record.queued, time.time())) as limit:
                return await self._outcome(state, call, record, task)
        except TimeoutError:
            if not limit.expired():
                raise
            error = ErrorInfo("DEADLINE_EXCEEDED", f"not done within its deadline of {task.deadline:g} s")
            return state.record.replace(phase=Phase.TIMED_OUT, error=error)

    async def _outcome(self, state: Live, call: Call, record: ActionRecord, task: Task) -> ActionRecord:
        """How the task ends: as it did before, or by its attempts."""
        begun = record.phase is Phase.RUNNING  # by an earlier driver of this run
        refresh = (state.within or ChildRun()).refresh
        if record.parent and not begun:  # the root's inputs are ours
            target, limit = self._facts.folder.inputs(record.name), self._facts.most_inline(task.name)
            try:
                await self._attempts.launcher.settle(record.parent, call.inputs, target, "inputs", limit)
            except (door.Refused, FileNotFoundError, ValueError, DecodeError) as e:
                error = ErrorInfo("BadInputs", f"its inputs cannot be taken over: {e}")
                return record.replace(phase=Phase.FAILED, error=error)
        if not begun and (found := await self._reuse.resumed(record, task)) is not None:
            return found
        entry = self._reuse.entry(record, task, call.key)
        async with self._reuse.alone(task, entry):
            if not begun and (found := await self._reuse.cached(record, task, entry, refresh)) is not None:
                return found

            async def changed(new: ActionRecord) -> None:
                self._forget_failures(state)
                await self._publish(state, new)

            record = await self._attempts.run(record, task, call.spec, state.depth, changed)
            await self._reuse.remember(record, entry)
            return record

    def _forget_failures(self, state: Live) -> None:
        """A new attempt of a parent calls its children anew; those that did not succeed are to run again."""
        for name in state.children:
            child = self._actions[name]
            if child.record.phase.terminal and child.record.phase is not Phase.SUCCEEDED:
                child.announced = False
