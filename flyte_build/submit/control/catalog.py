"""``flyteidl2.task.TaskService``, for tasks: ``flyte.remote.Task.get`` finds what was deployed here, and what the file
of the run has itself.

What is handed out can be called: its image becomes one of the run's, its code is put where tasks see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.task import task_definition_pb2, task_service_pb2

from ...kernel.errors import RunError
from ..attempt import RunFacts
from ..deployed import DeployedTask, TaskSource
from ..observer import Observer
from ..template import with_code
from .refusing import Served
from .stash import Stash

__all__ = ["Catalog", "Finder", "learn"]

_PAGE = 1000


class Finder:
    """Tasks by name: ``deployed`` ones, else the file's ``own`` by their full names, of the version of the run."""

    def __init__(
        self, facts: RunFacts, stash: Stash, deployed: TaskSource, own: Mapping[str, DeployedTask], observer: Observer
    ) -> None:
        self._facts = facts
        self._stash = stash
        self._deployed = deployed
        self.own = own
        self._observer = observer
        self._said: set[str] = set()

    async def find(self, wanted: task_definition_pb2.TaskIdentifier) -> task_definition_pb2.TaskDetails:
        """All of a task; raises :class:`ConnectError` where there is none, or its code is gone."""
        try:
            task = await asyncio.to_thread(
                self._deployed.find, wanted.project, wanted.domain, wanted.name, wanted.version
            )
        except RunError as e:
            raise ConnectError(Code.INTERNAL, e.message) from None
        own = self.own.get(wanted.name)
        if task is None and own is not None and wanted.version in ("", own.version):
            task = own
            self.say(f"{own.name} was not deployed {self._where}: calls of it by name take it from the run's own file")
        if task is None:
            version = f" of version {wanted.version}" if wanted.version else ""
            words = self.nobody(wanted.name + version, wanted.project, wanted.domain)
            self.say(words)
            raise ConnectError(Code.NOT_FOUND, words)
        try:
            uri = await self._stash.admit(task)
            names = {"project": task.project, "domain": task.domain, "name": task.name, "version": task.version}
            await self._stash.remember({"called": names})
        except OSError as e:
            words = f"the code of {task.name} {task.version} cannot be read: {e.strerror or e}; deploy it again"
            raise ConnectError(Code.FAILED_PRECONDITION, words) from None
        learn(self._facts, task, uri)
        spec = with_code(task_definition_pb2.TaskSpec.FromString(task.spec), uri)
        return _details(task, spec)

    def listed(self, project: str, domain: str) -> list[DeployedTask]:
        """Every version there is, the latest first, then the file's own that were never deployed."""
        found = list(self._deployed.listed(project, domain))
        names = {task.name for task in found}
        return [*found, *(task for name, task in self.own.items() if name not in names)]

    @property
    def _where(self) -> str:
        return f"to {self._facts.folder.storage.base}" if self._facts.folder.storage.remote else "here"

    def nobody(self, name: str, project: str, domain: str) -> str:
        """That there is no such task, and what to do."""
        way = "`flyte-build deploy FILE` does that, and `flyte-build deploy --list` shows what there is"
        if self._facts.folder.storage.remote:
            way = (
                "`flyte-build deploy --on TARGET FILE` does that, and `flyte-build deploy --on TARGET --list` shows "
                "what there is"
            )
        return f"no task {name} was deployed {self._where} (project {project}, domain {domain}): {way}"

    def say(self, words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            self._observer.warn(words)


class Catalog(Served):
    """The calls of a task about tasks."""

    service = "TaskService"

    def __init__(self, tasks: Finder) -> None:
        self._tasks = tasks

    async def get_task_details(self, request: task_service_pb2.GetTaskDetailsRequest, ctx: Any) -> Any:
        return task_service_pb2.GetTaskDetailsResponse(details=await self._tasks.find(request.task_id))

    async def list_tasks(self, request: task_service_pb2.ListTasksRequest, ctx: Any) -> Any:
        if list(request.known_filters):
            raise ConnectError(Code.UNIMPLEMENTED, "tasks are listed by name here, not by other facts of theirs")
        where = request.project_id
        try:
            found = await asyncio.to_thread(self._tasks.listed, where.name, where.domain)
        except RunError as e:
            raise ConnectError(Code.INTERNAL, e.message) from None
        for one in request.request.filters:
            found = [task for task in found if _passes(task, one)]
        if request.request.sort_by.direction == 1 and request.request.HasField("sort_by"):
            found.reverse()
        asked = [one for one in request.request.filters if one.Function.Name(one.function) == "EQUAL"]
        if asked and not found:
            # The SDK's own words for an empty answer do not say what to do.
            self._tasks.say(self._tasks.nobody(", ".join(asked[0].values), where.name, where.domain))
        page = found[: request.request.limit or _PAGE]
        return task_service_pb2.ListTasksResponse(tasks=[_listed(task) for task in page])


def learn(facts: RunFacts, task: DeployedTask, uri: str) -> None:
    """``task``, whose code is at ``uri``, is one that the run calls."""
    facts.images.update(task.images)
    facts.inline.update({n: size for n, size in task.inline.items() if n not in facts.inline})
    facts.bundles[uri] = task.code


def _passes(task: DeployedTask, one: Any) -> bool:
    kind = one.Function.Name(one.function)
    if one.field != "name" or kind not in ("EQUAL", "CONTAINS", "VALUE_IN"):
        raise ConnectError(Code.UNIMPLEMENTED, f"tasks are found by name here, not by {one.field:.80} ({kind})")
    values = list(one.values)
    return any(value in task.name for value in values) if kind == "CONTAINS" else task.name in values


def _details(task: DeployedTask, spec: task_definition_pb2.TaskSpec) -> task_definition_pb2.TaskDetails:
    listed = _listed(task)
    return task_definition_pb2.TaskDetails(task_id=listed.task_id, metadata=listed.metadata, spec=spec)


def _listed(task: DeployedTask) -> task_definition_pb2.Task:
    found = task_definition_pb2.Task()
    identifier = found.task_id
    identifier.project, identifier.domain = task.project, task.domain
    identifier.name, identifier.version = task.name, task.version
    found.metadata.environment_name = task.environment
    found.metadata.deployed_at.FromNanoseconds(int(task.at * 1e9))
    found.metadata.short_name = task.name.removeprefix(f"{task.environment}.")
    return found
