"""Container tasks on this machine: there is no copilot.

This process writes the inputs before the container starts and reads the outputs when it has ended, through the door
(see ``raw_files``).
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from flyteidl2.core import tasks_pb2
from flyteidl2.task import common_pb2

from ...kernel.values import dataclass, replace
from .. import door
from ..action import OUTPUTS, ImageRoot, LaunchRequest, Outcome
from ..berth import Berth
from ..kubernetes.errors import Unplaceable
from ..sandbox.spec import Mount
from ..specs import parsed
from ..storage import RunFolder
from .beside import Ground
from .borrowed import with_python
from .places import with_places
from .raw_files import BadOutput, check_raw, inputs_of, outputs_in, places, rendered

__all__ = ["Raw", "read_raw"]

_DEEP = 100


def read_raw(request: LaunchRequest, image: ImageRoot, folder: RunFolder) -> Raw | None:
    """The container task of ``request``; ``None`` for any other task. Raises :class:`Unplaceable`."""
    task = parsed(request.task_spec).task_template
    if not check_raw(task, request.task):
        return None
    if task.HasField("k8s_pod") or task.metadata.pod_template_name:
        raise Unplaceable(f"{request.task} is a container task with a pod template, which is not here")
    return Raw(request, image, folder, task)


@dataclass(frozen=True, slots=True)
class Raw:
    """A container task's attempt: what the launcher does differently for it."""

    request: LaunchRequest
    image: ImageRoot
    folder: RunFolder
    task: tasks_pb2.TaskTemplate
    plain = False

    @property
    def _said(self) -> tasks_pb2.DataLoadingConfig:
        return self.task.container.data_config

    def placed(self, berth: Berth, ground: Ground, scratch: Path) -> Berth:
        """``berth`` with its inputs, in ``scratch``, and its arguments. Blocks. Raises :class:`Unplaceable`."""
        inputs, outputs = scratch / "inputs", scratch / "outputs"
        inputs.mkdir()
        outputs.mkdir()
        outputs.chmod(0o777)
        values = self._write(inputs)
        cwd = self.image.workdir or "/"
        # As a container's: what its task says is in the place of the image's command, after its entrypoint.
        argv = (*self.image.entrypoint, *(rendered(self.request.args, values) or self.image.command))
        inside = places(self._said)
        own = (Mount(inputs, inside[0]), Mount(outputs, inside[1], writable=True))
        box = with_python(with_places(berth.box, scratch, own))
        return replace(berth, box=box, argv=argv, cwd=cwd)

    def _write(self, inputs: Path) -> dict[str, Any]:
        """Write every input; each one's value, a file's as its place inside."""
        given = common_pb2.Inputs.FromString(self.folder.inputs(self.request.action).read_bytes())
        with door.folder(inputs) as into, door.folder(self.folder.storage.runs) as top:

            def bring(uri: str, held: int, name: str) -> None:
                _copied(top, self.folder.storage.inside(uri), held, name)

            return inputs_of(given, self._said, into, bring, self.request.task)

    def end(self, outcome: Outcome, scratch: Path) -> Outcome:
        """Make the outputs of what the container left, where it ended well. Blocks."""
        if outcome.reason or outcome.exit_code:
            return outcome
        try:
            # What it names is taken over with the message that names it.
            with door.folder(scratch / "outputs") as top:
                found = outputs_in(top, self.task, lambda name, inside: inside)
        except BadOutput as e:
            return Outcome(1, "error", str(e), "BadOutputs", "user")
        attempt = self.folder.attempt(self.request.action, self.request.attempt)
        with (
            door.folder(self.folder.path) as top,
            door.folder_at(top, attempt.relative_to(self.folder.path).as_posix()) as into,
        ):
            door.write(into, OUTPUTS, found.SerializeToString(deterministic=True))
        return outcome


def _copied(top: int, below: str, into: int, name: str, depth: int = 0) -> None:
    """Copy a file, or a folder without links, ``below`` the open folder ``top``, to ``name`` in the open ``into``."""
    if not door.is_folder(top, below):
        with door.open_file(top, below) as source:
            door.copy_to(source, into, name)
        return
    if depth > _DEEP:
        raise ValueError(f"folders more than {_DEEP} deep in each other")
    door.make_folders(into, name)
    with door.folder_at(top, below) as held, door.folder_at(into, name) as target:
        for child in door.entries(held):
            with suppress(FileNotFoundError, door.Refused):
                _copied(held, child, target, child, depth + 1)
