"""Where a run keeps what its tasks hand in and what they call by name: beside the run here, or in object storage.

What a service answers is the same everywhere (see ``application``); this is the part that knows where bytes lie.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .. import door
from ..cache import document
from ..deployed import DeployedTask
from ..storage import BUNDLES, RunFolder

__all__ = ["LocalStash", "Stash"]


class Stash(Protocol):
    """That of one run. URIs are tasks' names for what is kept."""

    def code(self, name: str) -> str:
        """The URI of a bundle that is kept as ``name``."""

    async def keep(self, uri: str, data: bytes, *, anew: bool = False) -> None:
        """Keep ``data`` as ``uri``, whole or not at all; what is there already stays, unless ``anew``.

        Raises OSError.
        """

    async def upload(self, uri: str) -> str:
        """Where ``uri`` may be put, without us, for a while; empty where it is put here. Raises OSError."""

    async def read(self, uri: str) -> bytes:
        """The inputs or outputs ``uri``, or what was put there. Raises OSError, ValueError."""

    async def admit(self, task: DeployedTask) -> str:
        """Have ``task`` ready to be called: the URI of its code. Raises OSError where that is gone."""

    async def remember(self, fact: Mapping[str, Any]) -> None:
        """Keep ``fact`` for a driver that goes on with the run. Raises OSError."""


class LocalStash:
    """In the folder of a run here: bundles lie with its own, files in its ``kept``; sandboxes see both and write to
    neither. One driver is all that such a run has, so there is nothing to remember. ``called`` hears of each task that
    is to be called, with the URI of its code."""

    def __init__(self, folder: RunFolder, called: Callable[[DeployedTask, str], object] | None = None) -> None:
        self._folder = folder
        self._called = called

    def code(self, name: str) -> str:
        return f"{BUNDLES}/{name}"

    async def keep(self, uri: str, data: bytes, *, anew: bool = False) -> None:
        await asyncio.to_thread(self._keep, uri, data, anew)

    def _keep(self, uri: str, data: bytes, anew: bool) -> None:
        below, _, name = self._below(uri).rpartition("/")
        with door.folder(self._folder.path) as top:
            door.make_folders(top, below)
            with door.folder_at(top, below) as into:
                if anew or not door.has_file(into, name):
                    door.write(into, name, data)

    def _below(self, uri: str) -> str:
        if uri.startswith(f"{BUNDLES}/"):
            return f"{self._folder.bundles.name}{uri.removeprefix(BUNDLES)}"
        return self._folder.storage.inside(uri).removeprefix(f"{self._folder.name}/")

    async def upload(self, uri: str) -> str:
        return ""

    async def read(self, uri: str) -> bytes:
        return await asyncio.to_thread(document, uri, self._folder.storage)

    async def admit(self, task: DeployedTask) -> str:
        code = await asyncio.to_thread(self._admit, task)
        if self._called is not None:
            self._called(task, code)
        return code

    def _admit(self, task: DeployedTask) -> str:
        name = f"{task.code.removeprefix('sha256:')}.tgz"
        there = self._folder.bundles / name
        if not there.exists():
            partial = there.with_suffix(".part")
            shutil.copyfile(task.bundle, partial)
            partial.replace(there)
        return self.code(name)

    async def remember(self, fact: Mapping[str, Any]) -> None:
        return None
