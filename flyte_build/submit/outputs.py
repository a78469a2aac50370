"""Files that outlive the sandbox they were made in.

On object storage ``flyte.io.File.from_local`` uploads. Where raw data go to a POSIX path it does not, and passes the
local path on, which here lies in a folder that ends with the sandbox. So every message that leaves a sandbox is
settled: what it refers to in there is copied into the run's ``kept`` folder, which no task can write to, and so is the
message, with the references changed. Paths are resolved as the task sees them, link by link, and never leave what it
could see: a link to ``/etc/passwd`` is the image's, not the host's. All of it goes through the :mod:`door`.
"""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from google.protobuf.message import DecodeError, Message

from ..kernel.path_resolution import Nowhere, resolve
from ..kernel.values import dataclass, field
from . import door
from .references import references, rewrite
from .storage import MOUNT

__all__ = ["Settlement", "View"]

SMALL = 16 << 10
# Folders in folders that are copied; the kernel's own limit on a path gives about as many.
_DEEP = 200


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with door.folder(target.parent) as kept:
        door.write(kept, target.name, data)


@dataclass(frozen=True, slots=True)
class Place:
    """Something on this machine: ``below`` the folder ``top``, which is the source of a mount."""

    top: Path
    below: str


@dataclass(frozen=True, slots=True)
class View:
    """What a sandbox sees: target → folder on this machine; the longest target that fits a path has it."""

    mounts: Mapping[str, Path]

    def locate(self, path: str) -> Place | None:
        """Where ``path`` (absolute, inside) leads as the task sees it, or ``None`` where to nothing.

        Another look may find something else there: whoever opens it goes through the door, which follows no link.
        """
        parts = self.resolved(path)
        return self._host(parts) if parts is not None else None

    def resolved(self, path: str) -> list[str] | None:
        """The components of ``path``, inside, with every link followed; ``None`` where one leads nowhere."""

        def link_of(parts: list[str], last: bool) -> str | None:
            here = self._host(parts)
            if here is None:
                raise Nowhere
            try:
                with door.folder(here.top) as top:
                    return door.link_at(top, here.below)
            except FileNotFoundError:
                return None  # the parent of a mount need not be in the image
            except OSError:
                raise Nowhere from None

        try:
            return resolve(path, link_of)
        except Nowhere:
            return None

    def _host(self, parts: list[str]) -> Place | None:
        for length in range(len(parts), -1, -1):
            source = self.mounts.get("/" + "/".join(parts[:length]))
            if source is not None:
                if length == len(parts) and not source.is_dir():
                    return Place(source.parent, source.name)
                return Place(source, "/".join(parts[length:]))
        return None


@dataclass(slots=True)
class Settlement:
    """Takes over what messages of one attempt refer to, into the folder ``into`` whose name inside is ``uri``.

    ``into`` is below ``kept``, a folder that no task can write to.
    """

    view: View
    into: Path
    uri: str
    own: tuple[str, ...] = ()
    taken: dict[str, str] = field(default_factory=dict)

    def settle(
        self, source: Path, below: str, target: Path, kind: Callable[[], Message], limit: int = door.INLINE
    ) -> None:
        """Settle the message, of at most ``limit`` bytes, in the file ``below`` of ``source``; write it to ``target``.

        Raises :class:`OSError` (:class:`~.door.Refused` for what is no plain file, or too large) and DecodeError.
        """
        message = kind()
        with door.folder(source) as top:
            message.ParseFromString(data := door.read(top, below, limit))
        if rewrite(message, self._take):
            data = message.SerializeToString(deterministic=True)
        _write(target, data)

    def settle_small(self, source: Path, below: str, target: Path, kind: Callable[[], Message]) -> bool:
        """The same for a message of at most :data:`SMALL` bytes that refers to nothing, which most are: it takes less
        than to have it done by a thread. Whether that was done; any other is left as it is."""
        message = kind()
        try:
            with door.folder(source) as top:
                message.ParseFromString(data := door.read(top, below, SMALL))
            if references(message):
                return False
            _write(target, data)
        except (OSError, DecodeError, ValueError):
            return False  # whoever takes the long way says why
        return True

    def _take(self, uri: str) -> str | None:
        """The new name of what ``uri`` refers to, or None where it is nobody's local path, or settled already."""
        path = uri.removeprefix("file://")
        if not path.startswith("/") or "\0" in path or posixpath.normpath(path).startswith(f"{MOUNT}/"):
            return None
        if path not in self.taken:
            place = self.view.locate(path)
            if place is None:
                self._refuse_gone(path)
                return None
            number = str(len(self.taken))
            name = posixpath.basename(posixpath.normpath(path)) or "root"
            # Names that are printed, or typed again, hold nothing that a terminal or a shell would act on.
            name = name if name.isprintable() else "file"
            with door.folder(place.top) as top:
                if not door.is_there(top, place.below):
                    self._refuse_gone(path)
                    return None
                (self.into / number).mkdir(parents=True, exist_ok=True)
                with door.folder(self.into / number) as into:
                    self._copy(top, place.below, path, into, name, 0)
            self.taken[path] = f"{self.uri}/{number}/{name}"
        return self.taken[path]

    def _refuse_gone(self, path: str) -> None:
        """What is not there may be another image's. Below a folder of this sandbox alone, it can be nobody's: raises
        :class:`~.door.Refused`."""
        if any(posixpath.normpath(path).startswith(f"{folder}/") for folder in self.own):
            raise door.Refused(
                errno.ENOENT,
                "it is not there any more, and a local path is handed on as it is: keep it until the task has ended, "
                "or write to `File.new_remote()`",
                path,
            )

    def _copy(self, top: int, below: str, inside: str, into: int, name: str, depth: int) -> None:
        """Copy the file or folder ``below`` the open folder ``top`` to ``name`` in ``into``."""
        if not door.is_folder(top, below):
            with door.open_file(top, below) as source:
                door.copy_to(source, into, name)
            return
        door.make_folders(into, name)
        with door.folder_at(top, below) as held, door.folder_at(into, name) as target:
            for child in door.entries(held):
                # What was there when it was listed may be gone, or another thing, when it is opened.
                with suppress(FileNotFoundError, door.Refused):
                    self._child(held, child, posixpath.join(inside, child), target, depth + 1)

    def _child(self, held: int, child: str, inside: str, target: int, depth: int) -> None:
        if door.link_at(held, child) is None:
            if depth < _DEEP:
                self._copy(held, child, inside, target, child, depth)
            return
        # A link to a folder may lead back up; a dangling one, a socket or a pipe has nothing to take.
        place = self.view.locate(inside)
        if place is not None:
            with door.folder(place.top) as top, door.open_file(top, place.below) as source:
                door.copy_to(source, target, child)
