"""``flyteidl2.workflow.RunService``, for tasks: ``flyte.run`` in a task begins a run of its own, here.

A child run is an action of the same run below the one that started it, so that it is in the tree, the journal and the
machine's shares; it has a name by which tasks ask for it, variables of its own, and it outlives who started it, as on a
backend. The run that all began with ends when the last of them has.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.actions import actions_service_pb2
from flyteidl2.common import identifier_pb2
from flyteidl2.task import common_pb2, run_pb2, task_definition_pb2
from flyteidl2.workflow import run_definition_pb2, run_service_pb2
from google.protobuf.message import DecodeError

from ...kernel import canonical
from ..action import ROOT_ACTION
from ..attempt import RunFacts
from ..cache_keys import cache_key
from ..engine import AlreadyExists, ChildRun, Engine, NotFound
from ..journal import ActionRecord
from ..observer import Observer
from ..protobuf import phase_number
from .addressing import ACTION_NAME, caller
from .answers import action_of, details_of
from .catalog import Finder
from .intake import Uploads
from .refusing import Served

__all__ = ["ChildRuns"]

_Found = TypeVar("_Found")
# What a run may ask for that only a backend has, by the field that says so.
_BACKENDS: Mapping[str, str] = {
    "security_context": "service accounts",
    "raw_data_storage": "another raw data path",
    "run_base_dir": "another base folder",
    "notification_rule_name": "notifications",
    "notification_rules": "notifications",
    "max_action_concurrency": "a limit of actions at once",
    "cluster_pool": "cluster pools",
}
_PAGE = 100


class ChildRuns(Served):
    """The calls of a task about runs. ``specs`` are those of the roots of child runs, by action."""

    service = "RunService"

    def __init__(
        self, engine: Engine, facts: RunFacts, uploads: Uploads, tasks: Finder, observer: Observer,
        specs: Mapping[str, task_definition_pb2.TaskSpec],
    ) -> None:  # fmt: skip
        self._engine = engine
        self._facts = facts
        self._uploads = uploads
        self._tasks = tasks
        self._observer = observer
        self.specs = dict(specs)
        self._said: set[str] = set()

    # -- beginning and ending ----------------------------------------------------------------------------------

    async def create_run(self, request: run_service_pb2.CreateRunRequest, ctx: Any) -> Any:
        spec = await self._spec(request)
        uri, inputs = await self._inputs(request)
        self._say_what_is_not_heard(request.run_spec)
        action = actions_service_pb2.Action(
            parent_action_name=self._caller(ctx), input_uri=uri, run_output_base=self._facts.folder.storage.uri(
                self._facts.folder.meta
            ),
        )  # fmt: skip
        action.task.spec.CopyFrom(spec)
        if key := cache_key(spec, inputs):
            action.task.cache_key.value = key
        if request.run_spec.queue and "queue" in action.task.DESCRIPTOR.fields_by_name:
            action.task.queue = request.run_spec.queue
        child = ChildRun(_variables(request.run_spec), _refresh(request.run_spec))
        try:
            await self._begin(action, child, request.run_id.name, inputs)
        except AlreadyExists as e:
            raise ConnectError(Code.ALREADY_EXISTS, f"a run {e} exists") from None
        except NotFound as e:
            raise ConnectError(Code.FAILED_PRECONDITION, str(e)) from None
        except OSError as e:
            raise ConnectError(Code.UNAVAILABLE, f"the run cannot be written down: {e}") from None
        record = self._record(action.action_id.name)
        self.specs[record.name] = spec
        return run_service_pb2.CreateRunResponse(run=run_definition_pb2.Run(action=action_of(record, self._run)))

    async def _begin(
        self, action: actions_service_pb2.Action, child: ChildRun, wanted: str, inputs: common_pb2.Inputs
    ) -> None:
        """Enqueue under the name that was wanted, else under the next that its parent and its call have."""
        if wanted and not ACTION_NAME.fullmatch(wanted):
            raise ConnectError(Code.INVALID_ARGUMENT, f"`{wanted:.80}` is no name for a run")
        call = {
            "parent": action.parent_action_name,
            "task": action.task.spec.task_template.id.name,
            "inputs": inputs.SerializeToString(deterministic=True).hex(),
        }
        number = 0
        while True:
            # The same in a run that resumes this one, where its outcome is found again.
            made = f"c{canonical.digest({**call, 'number': number}).removeprefix('sha256:')[:19]}"
            action.action_id.CopyFrom(identifier_pb2.ActionIdentifier(run=self._run, name=wanted or made))
            number += 1
            if not wanted and self._engine.record(made) is not None:
                continue
            name = action.action_id.name
            if wanted and self._engine.record(name) is not None:
                raise AlreadyExists(name)
            own = {"name": name, "env": dict(child.env), "refresh": child.refresh}
            await self._uploads.stash.remember({"child": own})
            await self._engine.enqueue(action, child)
            return

    async def abort_run(self, request: run_service_pb2.AbortRunRequest, ctx: Any) -> Any:
        await self._abort(self._root_of(request.run_id))
        return run_service_pb2.AbortRunResponse()

    async def abort_action(self, request: run_service_pb2.AbortActionRequest, ctx: Any) -> Any:
        await self._abort(self._named(request.action_id))
        return run_service_pb2.AbortActionResponse()

    async def _abort(self, name: str) -> None:
        with contextlib.suppress(NotFound):  # it has ended, which is what was asked for
            await self._engine.abort(name)

    # -- looking -----------------------------------------------------------------------------------------------

    async def get_run_details(self, request: run_service_pb2.GetRunDetailsRequest, ctx: Any) -> Any:
        details = self._details(self._record(self._root_of(request.run_id)))
        return run_service_pb2.GetRunDetailsResponse(details=run_definition_pb2.RunDetails(action=details))

    async def get_action_details(self, request: run_service_pb2.GetActionDetailsRequest, ctx: Any) -> Any:
        details = self._details(self._record(self._named(request.action_id)))
        return run_service_pb2.GetActionDetailsResponse(details=details)

    async def watch_action_details(
        self, request: run_service_pb2.WatchActionDetailsRequest, ctx: Any
    ) -> AsyncIterator[run_service_pb2.WatchActionDetailsResponse]:
        name = self._record(self._named(request.action_id)).name
        async with contextlib.aclosing(self._engine.follow(name)) as records:
            async for record in records:
                yield run_service_pb2.WatchActionDetailsResponse(details=self._details(record))

    async def watch_run_details(
        self, request: run_service_pb2.WatchRunDetailsRequest, ctx: Any
    ) -> AsyncIterator[run_service_pb2.WatchRunDetailsResponse]:
        name = self._record(self._root_of(request.run_id)).name
        async with contextlib.aclosing(self._engine.follow(name)) as records:
            async for record in records:
                details = run_definition_pb2.RunDetails(action=self._details(record))
                yield run_service_pb2.WatchRunDetailsResponse(details=details)

    async def list_runs(self, request: run_service_pb2.ListRunsRequest, ctx: Any) -> Any:
        roots = [r for r in self._engine.records() if r.run or r.name == ROOT_ACTION]
        page, token = _page([r for r in roots if _passes(r, request.request.filters)], request.request)
        runs = [run_definition_pb2.Run(action=action_of(r, self._run)) for r in page]
        return run_service_pb2.ListRunsResponse(runs=runs, token=token)

    async def list_actions(self, request: run_service_pb2.ListActionsRequest, ctx: Any) -> Any:
        within = self._within(self._root_of(request.run_id))
        page, token = _page([r for r in within if _passes(r, request.request.filters)], request.request)
        return run_service_pb2.ListActionsResponse(actions=[action_of(r, self._run) for r in page], token=token)

    # -- finding -----------------------------------------------------------------------------------------------

    @property
    def _run(self) -> identifier_pb2.RunIdentifier:
        return self._facts.identifier

    def named(self, action: identifier_pb2.ActionIdentifier) -> ActionRecord:
        """The record of what a task calls ``action``; raises :class:`ConnectError`."""
        return self._record(self._named(action))

    def _named(self, action: identifier_pb2.ActionIdentifier) -> str:
        return self._root_of(action.run) if action.name in ("", ROOT_ACTION) else action.name

    def _root_of(self, run: identifier_pb2.RunIdentifier) -> str:
        return ROOT_ACTION if run.name == self._run.name else run.name

    def _record(self, name: str) -> ActionRecord:
        record = self._engine.record(name)
        if record is None:
            words = f"there is no run or action {name or 'without a name'} in the run {self._run.name}"
            raise ConnectError(Code.NOT_FOUND, f"{words}, and tasks see no other runs of this machine")
        return record

    def _details(self, record: ActionRecord) -> run_definition_pb2.ActionDetails:
        return details_of(record, self._run, self.specs.get(record.name))

    def _within(self, root: str) -> list[ActionRecord]:
        """The actions of one run: those below its root, without the child runs among them."""
        found = {self._record(root).name}
        records = self._engine.records()
        for record in records:  # parents come before their children
            if record.parent in found and not record.run:
                found.add(record.name)
        return [record for record in records if record.name in found]

    def _caller(self, ctx: Any) -> str:
        """The action that asks: known by its address, but in a process that several share."""
        name = caller(ctx)
        record = self._engine.record(name) if name else None
        return name if record is not None and not record.phase.terminal else ROOT_ACTION

    # -- reading a request -------------------------------------------------------------------------------------

    async def _spec(self, request: run_service_pb2.CreateRunRequest) -> task_definition_pb2.TaskSpec:
        if request.HasField("task_spec"):
            try:
                await self._uploads.known(request.task_spec.task_template.metadata.code_bundle_uri)
            except (OSError, ValueError) as e:
                raise ConnectError(Code.FAILED_PRECONDITION, f"the run's code cannot be read: {e}") from None
            return request.task_spec
        if request.HasField("task_id"):
            return (await self._tasks.find(request.task_id)).spec
        raise ConnectError(Code.UNIMPLEMENTED, "runs of triggers need a Flyte backend (see docs/parity.md)")

    async def _inputs(self, request: run_service_pb2.CreateRunRequest) -> tuple[str, common_pb2.Inputs]:
        try:
            if request.HasField("inputs"):
                uri, _ = await self._uploads.inputs(request.inputs.SerializeToString(deterministic=True))
                return uri, request.inputs
            folder = self._facts.folder
            uri = request.offloaded_input_data.uri
            folder.storage.below(uri, folder.name)
            return uri, common_pb2.Inputs.FromString(await self._uploads.stash.read(uri))
        except (OSError, ValueError, DecodeError) as e:
            raise ConnectError(Code.INVALID_ARGUMENT, f"the run's inputs cannot be read: {e}") from None

    def _say_what_is_not_heard(self, spec: run_pb2.RunSpec) -> None:
        for field in (f.name for f, _ in spec.ListFields()):
            if (what := _BACKENDS.get(field)) and what not in self._said:
                self._said.add(what)
                self._observer.warn(f"a task starts a run with {what}, which only a Flyte backend has")


def _variables(spec: run_pb2.RunSpec) -> dict[str, str]:
    return {v.key: v.value for v in spec.envs.values}


def _refresh(spec: run_pb2.RunSpec) -> bool:
    return bool(spec.overwrite_cache)


def _passes(record: ActionRecord, filters: Any) -> bool:
    """Whether a record is one of those asked for. Raises :class:`ConnectError` for a filter of another kind."""
    facts = {
        "phase": str(phase_number(record.phase)),
        "parent_name": "" if record.run else record.parent,
        "task_name": record.task,
    }
    for one in filters:
        if one.field not in facts:
            raise ConnectError(Code.UNIMPLEMENTED, f"no filter by {one.field:.80} here; there are: {', '.join(facts)}")
        if facts[one.field] not in one.values:
            return False
    return True


def _page(records: list[ActionRecord], asked: Any) -> tuple[list[ActionRecord], str]:
    """A page of records in the order they were queued, and the token of the next."""
    try:
        begin = int(asked.token or 0)
    except ValueError:
        raise ConnectError(Code.INVALID_ARGUMENT, f"`{asked.token:.80}` is no token of a page") from None
    # Direction 1 is descending, as flyteidl2.common.Sort has it.
    ordered = sorted(
        records, key=lambda r: r.queued, reverse=asked.sort_by.direction == 0 and asked.HasField("sort_by")
    )
    size = min(asked.limit or _PAGE, _PAGE)
    end = begin + size
    return ordered[begin:end], str(end) if end < len(ordered) else ""
