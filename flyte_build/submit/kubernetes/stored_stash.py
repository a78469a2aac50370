"""What a cluster run's tasks hand in and call by name: in object storage, where their pods find it.

Bundles lie with those of all runs there, files in the run's ``kept``. What the driver learns of it is in the journal,
so one that goes on with the run knows it again.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

import obstore
from obstore.exceptions import BaseError

from ...kernel.errors import RunError
from ...kernel.values import dataclass
from .. import door
from ..attempt import RunFacts
from ..control.catalog import learn
from ..deployed import DeployedTask, TaskSource
from ..storage import RunFolder
from .called_apps import RunApps
from .mirror import Mirror
from .needs import Needs
from .stored_tasks import BUNDLES, bundle_key

__all__ = ["StoredStash", "recall"]

_A_WHILE = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class StoredStash:
    """That of the run in ``folder``; see :class:`~..control.stash.Stash`. ``images`` (digest → reference) and ``needs``
    are the launcher's, to which those of tasks that are called by name are added; ``note`` writes into the journal.
    ``apps`` are served to those that are called. ``signed``: tasks upload into the storage themselves, for the client
    that does it trusts no run's own authority."""

    mirror: Mirror
    folder: RunFolder
    images: MutableMapping[str, str]
    needs: MutableMapping[str, Needs]
    note: Callable[[dict[str, Any]], Awaitable[None]]
    apps: RunApps | None = None
    signed: bool = False

    def code(self, name: str) -> str:
        return f"{self.mirror.url}/{BUNDLES}/{name}"

    async def keep(self, uri: str, data: bytes, *, anew: bool = False) -> None:
        try:
            await self.mirror.put(self._key(uri), data, new=not anew)
        except FileExistsError:
            return
        except RunError as e:
            raise OSError(e.message) from None

    async def upload(self, uri: str) -> str:
        if not self.signed:
            return ""
        try:
            return str(await obstore.sign_async(self.mirror.store, "PUT", self._key(uri), _A_WHILE))
        except (BaseError, ValueError, TypeError) as e:
            raise OSError(f"{self.mirror.url} gives no address to upload to: {e}") from None

    async def read(self, uri: str) -> bytes:
        try:
            data = await self.mirror.get(self._key(uri), door.LARGEST)
        except RunError as e:
            raise OSError(e.message) from None
        if data is None:
            raise FileNotFoundError(f"{uri} is not there")
        return data

    async def admit(self, task: DeployedTask) -> str:
        key = bundle_key(task.code)
        try:
            if not await self.mirror.has(key):
                raise FileNotFoundError(f"{self.mirror.url}/{key} is not there")
        except RunError as e:
            raise OSError(e.message) from None
        # The run's own images stay where it has them.
        self.images.update({d: reference for reference, d in task.images.items() if d not in self.images})
        self.needs.update({d: Needs.from_json(told) for d, told in task.needs.items() if d not in self.needs})
        if self.apps is not None:
            self.apps.add(task, f"{self.mirror.url}/{key}")
        return f"{self.mirror.url}/{key}"

    async def remember(self, fact: Mapping[str, Any]) -> None:
        await self.note(dict(fact))

    def _key(self, uri: str) -> str:
        return self.folder.storage.inside(uri)


async def recall(
    entries: Iterable[Mapping[str, Any]],
    facts: RunFacts,
    stash: StoredStash,
    deployed: TaskSource,
    own: Mapping[str, DeployedTask],
    warn: Callable[[str], object],
) -> None:
    """Know again what earlier drivers of the run learnt, as its journal has it. What is gone since is said."""
    called: dict[tuple[str, ...], None] = {}
    for entry in entries:
        if "code" in entry:
            facts.bundles[str(entry["code"]["uri"])] = str(entry["code"]["digest"])
        elif "called" in entry:
            told = entry["called"]
            called[tuple(str(told[key]) for key in ("project", "domain", "name", "version"))] = None
    for project, domain, name, version in called:
        mine = own.get(name)
        try:
            task = await asyncio.to_thread(deployed.find, project, domain, name, version)
            if task is None and mine is not None and mine.version == version:
                task = mine
            if task is None:
                raise FileNotFoundError(f"version {version} was deployed to {facts.folder.storage.base} and is gone")
            learn(facts, task, await stash.admit(task))
        except (OSError, RunError) as e:
            warn(f"{name}, which the run calls by name, cannot be called any more: {e}")
