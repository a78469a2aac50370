"""Files that outlive the sandbox they were made in.

On object storage ``flyte.io.File.from_local`` uploads. Where raw data go to a POSIX path it does not, and passes the
local path on, which here lies in a folder that ends with the sandbox. So every message that leaves a sandbox is
settled: what it refers to in there is taken over into the run's storage, and the reference is changed. Paths are
resolved as the task sees them, link by link, and never leave what it could see: a link to ``/etc/passwd`` is the
image's, not the host's.
"""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
from google.protobuf.message import Message

from ..kernel.path_resolution import Nowhere, resolve
from .storage import MOUNT

__all__ = ["Settlement", "View"]

MSGPACK = "msgpack"
# A File or Dir inside a dataclass is a msgpack map; these keys tell it from other maps (flyte.io.File, flyte.io.Dir).
_SHAPE = frozenset({"path", "name", "format"})


@dataclass(frozen=True, slots=True)
class View:
    """What a sandbox sees: target → folder on this machine; the longest target that fits a path has it."""

    mounts: Mapping[str, Path]

    def locate(self, path: str) -> Path | None:
        """The file or folder on this machine that ``path`` (absolute, inside) is, or None where nothing is."""

        def link_of(parts: list[str], last: bool) -> str | None:
            here = self._host(parts)
            if here is None:
                raise Nowhere
            return os.readlink(here) if here.is_symlink() else None

        try:
            found = self._host(resolve(path, link_of))
        except Nowhere:
            return None
        return found if found is not None and found.exists() else None

    def _host(self, parts: list[str]) -> Path | None:
        for length in range(len(parts), -1, -1):
            folder = self.mounts.get("/" + "/".join(parts[:length]))
            if folder is not None:
                return folder.joinpath(*parts[length:])
        return None


@dataclass(slots=True)
class Settlement:
    """Takes over what messages of one attempt refer to, into the folder ``into`` whose name inside is ``uri``.

    ``final`` says that the attempt's processes are gone, so that files can be linked instead of copied.
    """

    view: View
    into: Path
    uri: str
    taken: dict[str, str] = field(default_factory=dict)

    def settle(self, document: Path, kind: Callable[[], Message], *, final: bool) -> None:
        """Settle the message in the file ``document``. Raises OSError, for a full disk, and DecodeError."""
        message = kind()
        message.ParseFromString(document.read_bytes())
        if self._message(message, final):
            temporary = document.with_name(f".{document.name}.settled")
            temporary.write_bytes(message.SerializeToString(deterministic=True))
            os.replace(temporary, document)

    def _message(self, message: Message, final: bool) -> bool:
        changed = False
        fields = {descriptor.name: value for descriptor, value in message.ListFields()}
        uri = fields.get("uri")
        if isinstance(uri, str) and (new := self._take(uri, final)) is not None:
            message.uri = new  # type: ignore[attr-defined]
            changed = True
        if fields.get("tag") == MSGPACK and isinstance(fields.get("value"), bytes):
            data = msgpack.unpackb(fields["value"], strict_map_key=False)
            if self._data(data, final):
                message.value = msgpack.packb(data)  # type: ignore[attr-defined]
                changed = True
        for child in _children(message):
            changed |= self._message(child, final)
        return changed

    def _data(self, data: Any, final: bool) -> bool:
        """The same for decoded msgpack, in place."""
        changed = False
        if isinstance(data, dict):
            path = data.get("path")
            if data.keys() >= _SHAPE and isinstance(path, str) and (new := self._take(path, final)) is not None:
                data["path"] = new
                changed = True
            for value in data.values():
                changed |= self._data(value, final)
        elif isinstance(data, list):
            for value in data:
                changed |= self._data(value, final)
        return changed

    def _take(self, uri: str, final: bool) -> str | None:
        """The new name of what ``uri`` refers to, or None where it is nobody's local path, or settled already."""
        path = uri.removeprefix("file://")
        if not path.startswith("/") or posixpath.normpath(path).startswith(f"{MOUNT}/"):
            return None
        if path not in self.taken:
            source = self.view.locate(path)
            if source is None:
                return None
            name = f"{len(self.taken)}/{posixpath.basename(posixpath.normpath(path)) or 'root'}"
            target = self.into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            self._copy(source, path, target, final)
            self.taken[path] = f"{self.uri}/{name}"
        return self.taken[path]

    def _copy(self, source: Path, inside: str, target: Path, final: bool) -> None:
        if source.is_dir():
            target.mkdir()
            for child in source.iterdir():
                name = posixpath.join(inside, child.name)
                found = self.view.locate(name) if child.is_symlink() else child
                # A link to a folder may lead back up; a dangling one, a socket or a pipe has nothing to take.
                if found is not None and (found.is_file() or (found.is_dir() and not child.is_symlink())):
                    self._copy(found, name, target / child.name, final)
            return
        if final:
            try:
                os.link(source, target, follow_symlinks=False)
                return
            except OSError:
                pass  # another file system: the image's, perhaps
        shutil.copyfile(source, target)


def _children(message: Message) -> Iterator[Message]:
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        if descriptor.message_type.GetOptions().map_entry:
            yield from (v for v in value.values() if isinstance(v, Message))
        elif isinstance(value, Message):
            yield value
        else:
            yield from value
