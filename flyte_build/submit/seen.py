"""What tasks of a run see of other runs: what their inputs and reused results refer to, under its own name, and no
more.

A run's ``seen`` folder stands in every sandbox where all runs would be. Files are put into it before anybody is told of
them: those that no task can write to (a run's ``kept``, uploads) as hard links, since nothing that a sandbox can change
is shared by that; all others are copied, through the door.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from google.protobuf.message import Message

from . import door
from .references import references
from .storage import INPUTS_FOLDER, MOUNT, RunFolder

__all__ = ["Seen"]


class Seen:
    """The part of ``folder``'s storage that its tasks see."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the places where a sandbox mounts the run's own folders."""
        for name in ("meta", "raw", "kept"):
            (self._folder.seen / self._folder.name / name).mkdir(parents=True, exist_ok=True)

    def show_message(self, message: Message) -> None:
        """Show all that ``message`` refers to; see :meth:`show`."""
        self.show(references(message))

    def show(self, uris: Iterable[str]) -> None:
        """Let tasks see what these URIs name, as far as it is another run's. What is not there stays invisible.

        Raises :class:`OSError`, for a full disk.
        """
        for uri in uris:
            path = PurePosixPath(uri.removeprefix("file://"))
            if not path.is_relative_to(MOUNT) or ".." in path.parts or "\0" in uri:
                continue
            below = path.relative_to(MOUNT)
            if len(below.parts) < 2 or below.parts[0] == self._folder.name:
                continue
            with door.folder(self._folder.storage.runs) as runs, door.folder(self._folder.seen) as seen:
                self._show(runs, str(below), seen, shared=_ours(below))

    def _show(self, runs: int, below: str, seen: int, *, shared: bool) -> None:
        if door.has_file(seen, below):
            return
        parent, _, name = below.rpartition("/")
        if door.is_folder(runs, below):
            door.make_folders(seen, below)
            with door.folder_at(runs, below) as folder:
                names = door.entries(folder)
            for child in names:
                self._show(runs, f"{below}/{child}", seen, shared=shared)
            return
        try:
            with door.open_file(runs, below) as source:
                door.make_folders(seen, parent)
                with door.folder_at(seen, parent) as into:
                    if shared:
                        door.link_to(source, into, name)
                    else:
                        door.copy_to(source, into, name)
        except (FileNotFoundError, FileExistsError, door.Refused):
            return


def _ours(below: PurePosixPath) -> bool:
    """Whether only launchers write there: uploaded inputs, and what a run has kept."""
    return below.parts[0] == INPUTS_FOLDER or below.parts[1] == "kept"
