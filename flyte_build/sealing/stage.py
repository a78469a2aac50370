"""The process that holds a step's user namespace: ``python -m flyte_build.sealing.stage``. Requests in, answers out.

One line of JSON each, on standard input (a socket) and output, from :mod:`.process`, which is the only one to speak
with it. It works in its working folder and by relative paths only, as its own identity may not pass the folders
above. Everything is imported before it enters the namespace: afterwards it could not read a module below a closed
home. Ends, and all in it, with its parent.

``unpack``  ``{"name", "over", "diff_id"}`` and a layer's blob: what it changes of ``over`` → the folder ``name``
``lay``     ``{"run", "over", "diff_id"}`` and a layer's blob: what it changes of ``over`` → ``upper-N``
``run``     the step over ``over``, in ``upper-N``; ``roots``: what it takes files from; see :mod:`.entering`
``capture`` ``{"run", "over", "out", "lent", "secrets"}``: the layer of ``upper-N`` → the file ``out`` and its listing
``remove``  ``{"names"}``: folders of other owners, which the caller may not be able to remove

``over`` are folders as overlayfs has them, highest first: a layer is unpacked once for all chains that begin alike.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - all of Python that is loaded lazily below
import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..assemble.errors import AssembleError
from ..kernel.layer_tar import BadLayer
from . import calls, capturing, entering, unpacking, writing

__all__ = ["main"]


class Stage:
    """``control``: where answers go; ``output``: where the programs' words go."""

    def __init__(self, control: int, output: int) -> None:
        self._control, self._output = control, output
        self._left = b""
        self._asked = socket.socket(fileno=os.dup(0))
        self._files: list[int] = []

    # -- speaking ----------------------------------------------------------------------------------

    def ask(self) -> dict[str, Any] | None:
        """The next request; ``None`` when the caller has gone."""
        while b"\n" not in self._left:
            data, files, _, _ = socket.recv_fds(self._asked, 1 << 16, 1)
            if not data:
                return None
            self._left += data
            self._files += files
        line, _, self._left = self._left.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def answer(self, **what: Any) -> None:
        data = json.dumps(what).encode() + b"\n"
        while data:
            data = data[os.write(self._control, data) :]

    # -- entering ----------------------------------------------------------------------------------

    def enter(self) -> None:
        """Become root of a user namespace whose ids the caller maps, with mounts of its own."""
        calls.unshare(calls.NEWUSER | calls.NEWNS)
        self.answer(unshared=True)
        if self.ask() is None:
            os._exit(1)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        calls.die_with_parent()
        os.umask(0o022)
        calls.mount("none", "/", None, calls.REC | calls.SLAVE)

    # -- requests ----------------------------------------------------------------------------------

    def unpack(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """In a process of its own, whose root directory is the layers below, with the layer's folder to write to."""
        name = request["name"]
        os.mkdir(name)
        answer = self._put(name, request["over"], request["diff_id"])
        if answer:
            shutil.rmtree(name, ignore_errors=True)
        return answer

    def lay(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A layer over ``over`` as what a run has changed, above those of the same run that were laid before; without
        one (``diff_id`` is none), only the folder for it."""
        name = f"upper-{request['run']}"
        if not os.path.exists(name):
            os.mkdir(name)
            _like(name, request["over"])
        return self._put(name, request["over"], request["diff_id"]) if request["diff_id"] is not None else {}

    def _put(self, name: str, over: Sequence[str], diff_id: str) -> dict[str, Any]:
        handle = self._files.pop()
        read, write = os.pipe()
        try:
            with _writable(name, over) as root:
                child = os.fork()
                if child == 0:
                    _unpacked(root, handle, diff_id, write)
                os.close(write)
                with os.fdopen(read, "rb") as f:
                    found = f.read()
                os.waitpid(child, 0)
        finally:
            os.close(handle)
        answer: dict[str, Any] = json.loads(found or b'{"broken": "unpacking was killed"}')
        return answer

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        n = request["run"]
        names = {"root": f"root-{n}", "upper": f"upper-{n}", "work": f"work-{n}", "more": f"more-{n}"}
        for name in (*names.values(), f"more-{n}/empty"):
            os.mkdir(name)
        # The upper folder's own mode and owner are those of the root directory.
        _like(names["upper"], request["over"])
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            calls.die_with_parent()
            entering.run({**request, **names, "lower": ":".join(request["over"])}, self._output, write, self._attach)
        os.close(write)
        with os.fdopen(read, "rb") as f:
            lines = f.read().splitlines()
        os.waitpid(child, 0)
        found: dict[str, Any] = {}
        for line in lines:
            found |= json.loads(line)
        return found if found.keys() & {"exit", "broken"} else {"broken": "the sandbox was killed"}

    def _attach(self, first: int) -> None:
        """Have the caller give process ``first`` its limits, and its network a way out."""
        self.answer(attach=first)
        if self.ask() is None:
            os._exit(1)

    def capture(self, request: Mapping[str, Any]) -> dict[str, Any]:
        canary = writing.Canary([(name, bytes.fromhex(value)) for name, value in request["secrets"]])
        with _together(request["over"]) as lower, open(request["out"], "xb") as out:
            found = capturing.changes(f"upper-{request['run']}", lower, frozenset(request["lent"]))
            try:
                made = writing.write(found, out, canary)
            except writing.Holds as e:
                return {"holds": e.name, "path": e.path}
            except AssembleError as e:
                return {"bad": str(e)}
        with open(f"{request['out']}.listing", "x", encoding="utf-8") as f:
            json.dump(made.listing, f)
        return {
            "digest": made.digest,
            "size": made.size,
            "diff_id": made.diff_id,
            "content": made.content,
            "left_out": found.left_out,
        }

    def remove(self, request: Mapping[str, Any]) -> dict[str, Any]:
        for name in request["names"]:
            shutil.rmtree(name, ignore_errors=True)
        return {}


def _unpacked(root: str, handle: int, diff_id: str, told: int) -> None:
    """Unpack into the folder ``root`` and tell what was wrong; never returns."""
    said: dict[str, Any] = {}
    try:
        os.chroot(root)
        os.chdir("/")
        with os.fdopen(handle, "rb") as blob:
            unpacking.unpack(blob, diff_id)
    except BadLayer as e:
        said = {"bad": str(e)}
    except BaseException as e:
        said = {"broken": f"{type(e).__name__}: {e}"}
    os.write(told, json.dumps(said).encode())
    os._exit(0)


def _like(folder: str, over: Sequence[str]) -> None:
    """Of folders that lie over one another, the root directory is the highest's: it becomes as it was below."""
    below = os.stat(over[0])
    os.chown(folder, below.st_uid, below.st_gid)
    os.chmod(folder, below.st_mode & 0o7777)


@contextmanager
def _writable(name: str, over: Sequence[str]) -> Iterator[str]:
    """The folders ``over`` as one, whose changes go to the folder ``name``."""
    if not over:
        yield name
        return
    if not os.listdir(name):
        _like(name, over)
    with _mounted(
        f"lowerdir={':'.join(over)},upperdir={name},workdir={name}.work", f"{name}.work", f"{name}.all"
    ) as at:
        yield at


@contextmanager
def _together(over: Sequence[str]) -> Iterator[str]:
    """The folders ``over`` as one, to be read."""
    if len(over) == 1:
        yield over[0]
        return
    with _mounted(f"lowerdir={':'.join(over)}", "below") as at:
        yield at


@contextmanager
def _mounted(options: str, *folders: str) -> Iterator[str]:
    """An overlay on the last of ``folders``, all of which are made and go."""
    for folder in folders:
        os.mkdir(folder)
    try:
        calls.mount("overlay", folders[-1], "overlay", 0, f"{options},userxattr")
        try:
            yield folders[-1]
        finally:
            calls.umount(folders[-1])
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    output = int(sys.argv[1])
    control = os.dup(1)
    os.dup2(2, 1)
    stage = Stage(control, output)
    try:
        stage.enter()
    except OSError as e:
        stage.answer(broken=str(e))
        return
    stage.answer(entered=True)
    while (request := stage.ask()) is not None:
        try:
            answer = getattr(stage, request["do"])(request)
        except Exception as e:
            answer = {"broken": f"{type(e).__name__}: {e}"}
        stage.answer(**answer)


if __name__ == "__main__":
    main()
