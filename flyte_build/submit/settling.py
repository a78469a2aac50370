"""Which attempts of a run have a sandbox now, so that what their messages refer to in there can be taken over (see
``outputs``). One for each launcher of this machine; starts and ends nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from flyteidl2.task import common_pb2
from google.protobuf.message import DecodeError

from . import door
from .action import OUTPUTS, ImageRoot, LaunchRequest, Outcome
from .fresh import writable
from .outputs import Settlement, View
from .sandbox.spec import Mount
from .scratch import copy
from .storage import RunFolder

__all__ = ["Settling"]

_MESSAGES = {"inputs": common_pb2.Inputs, "outputs": common_pb2.Outputs}


class Settling:
    """Takes over messages of the run in ``folder``."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._settlements: dict[str, Settlement] = {}

    @contextmanager
    def of(self, request: LaunchRequest, image: ImageRoot, mounts: tuple[Mount, ...]) -> Iterator[None]:
        """For the time of the block the attempt has a sandbox of ``image`` with ``mounts``."""
        seen = {"/": image.root} | {m.target: m.source for m in mounts}
        files = self._folder.outcome(request.action, request.attempt) / "files"
        uri = self._folder.storage.uri(files)
        self._settlements[request.action] = Settlement(View(seen), files, uri, tuple(writable(image)))
        try:
            yield
        finally:
            self._settlements.pop(request.action, None)

    def taken_over(self, request: LaunchRequest, outcome: Outcome) -> Outcome:
        """Take over the attempt's outputs; what may not be taken over is the task's failure. Blocks."""
        try:
            self._settle(request.action, *self._outputs(request), "outputs", request.inline)
        except FileNotFoundError:
            pass
        except (door.Refused, DecodeError, ValueError) as e:
            return Outcome(1, "error", f"its outputs cannot be taken over: {e}", "BadOutputs")
        return outcome

    def taken_over_soon(self, request: LaunchRequest, outcome: Outcome) -> Outcome | None:
        """The same where they are small and refer to nothing, which needs no thread; ``None`` where they are not."""
        return outcome if self._settle_small(request.action, *self._outputs(request), "outputs") else None

    def _outputs(self, request: LaunchRequest) -> tuple[str, Path]:
        """The attempt's document, and where it is taken over to."""
        document = self._folder.attempt(request.action, request.attempt) / OUTPUTS
        return self._folder.storage.uri(document), self._folder.outcome(request.action, request.attempt) / OUTPUTS

    async def settle(
        self, action: str, document: str, target: Path, kind: Literal["inputs", "outputs"], limit: int
    ) -> None:
        """See :class:`~.action.Launcher`."""
        if not self._settle_small(action, document, target, kind):
            await asyncio.to_thread(self._settle, action, document, target, kind, limit)

    def _settle_small(self, action: str, document: str, target: Path, kind: Literal["inputs", "outputs"]) -> bool:
        settlement = self._settlements.get(action)
        if settlement is None:
            return False
        below = self._folder.storage.below(document, self._folder.name)
        return settlement.settle_small(self._folder.path, below, target, _MESSAGES[kind])

    def _settle(self, action: str, document: str, target: Path, kind: Literal["inputs", "outputs"], limit: int) -> None:
        below = self._folder.storage.below(document, self._folder.name)
        settlement = self._settlements.get(action)
        if settlement is None:
            copy(self._folder.path, below, target, limit)
        else:
            settlement.settle(self._folder.path, below, target, _MESSAGES[kind], limit)
