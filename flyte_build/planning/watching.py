"""The hooks that tell a :class:`~flyte_build.planning.recording.Recording` what a plan depends on.

An audit hook (PEP 578) for files, folders, processes and connections; wrappers for ``os.stat`` and its kin, which raise
no audit event; ``os.environ`` in all its forms, and ``sys.argv``; the profiler for clocks and random numbers. All but
the audit hook, which a process can only add, are taken away again when the block ends.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from ..kernel.users_code import ASKS, BEGINS, ENDS, READS
from .recording import Recording

__all__ = ["recording"]

_PROCESSES = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn",
)  # fmt: skip
_NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
_LISTINGS = ("os.listdir", "os.scandir", "glob.glob")
_LOOKS = (
    "__getitem__", "__iter__", "__len__", "__contains__", "__reversed__", "__eq__", "__ne__", "__lt__", "__le__",
    "__gt__", "__ge__", "__repr__", "__add__", "__mul__", "__rmul__", "copy", "count", "index", "pop",
)  # fmt: skip
_TOPLEVEL = ["git", "rev-parse", "--show-toplevel"]

_active: Recording | None = None
_hooked = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    recorder = _active
    if recorder is None:
        return
    if event == "open":
        recorder.opened(*arguments[:3])
        # Only the user's own code is watched for clocks: profiling the SDK's import would double its time, and
        # profiling the plan, which reads the same files, would treble it.
        if recorder.importing and sys.getprofile() is None and recorder.is_users(arguments[0]):
            sys.setprofile(recorder.called)
    elif event == BEGINS:
        recorder.importing += 1
    elif event == ENDS:
        recorder.importing -= 1
        _unprofile(recorder)
    elif event == READS:
        recorder.reads(arguments[0])
    elif event == ASKS:
        recorder.asking += arguments[0]
    elif event in _LISTINGS:
        recorder.listed(arguments[0] if arguments else ".")
    elif event == "subprocess.Popen" and list(arguments[1]) == _TOPLEVEL:
        recorder.asked_git(arguments[2])
    elif event == "sqlite3.connect":  # opened by SQLite itself, unseen by Python
        recorder.opened(arguments[0], "r", 0)
    elif event in _PROCESSES:
        recorder.refuse(f"a process was started ({event})")
    elif event in _NETWORK:
        recorder.refuse(f"the network was used ({event})")


@contextlib.contextmanager
def recording(root: Path | None = None) -> Iterator[Recording]:
    """Watch the block. ``root`` is the project's: its files are the user's own.

    Where settings have to be read to know it, they are read in the block, and :meth:`Recording.about` is told before
    anything of the user's is imported.
    """
    global _active, _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    recorder = Recording(root)
    with contextlib.ExitStack() as undo:
        _watch_environment(recorder, undo)
        _watch_arguments(recorder, undo)
        for name in ("stat", "lstat", "access", "readlink"):
            _wrap(os, name, recorder, undo)
        _spare_libraries(recorder, undo)
        undo.callback(_unprofile, recorder)
        _active = recorder
        try:
            yield recorder
        finally:
            _active = None


def _spare_libraries(recorder: Recording, undo: contextlib.ExitStack) -> None:
    """The import of a library by the user's code is not profiled: it would take twice its time.

    What stands between is named as importlib's own, so that warnings and tracebacks leave it out as they do those.
    """
    loader, name = importlib.machinery.SourceFileLoader, "exec_module"
    inherited, own = loader.exec_module, vars(loader).get(name)

    def exec_module(self: importlib.machinery.SourceFileLoader, module: ModuleType) -> None:
        if sys.getprofile() != recorder.called or recorder.is_users(self.path):
            return inherited(self, module)
        sys.setprofile(None)
        try:
            return inherited(self, module)
        finally:
            sys.setprofile(recorder.called)

    exec_module.__code__ = exec_module.__code__.replace(co_filename=inherited.__code__.co_filename)
    setattr(loader, name, exec_module)
    undo.callback(lambda: delattr(loader, name) if own is None else setattr(loader, name, own))


def _unprofile(recorder: Recording) -> None:
    if not recorder.importing and sys.getprofile() == recorder.called:
        sys.setprofile(None)


def _wrap(module: Any, name: str, recorder: Recording, undo: contextlib.ExitStack) -> None:
    original: Callable[..., Any] = getattr(module, name)

    def watched(path: Any, *args: Any, **kwargs: Any) -> Any:
        recorder.looked(path)
        return original(path, *args, **kwargs)

    setattr(module, name, watched)
    undo.callback(setattr, module, name, original)


def _watch_environment(recorder: Recording, undo: contextlib.ExitStack) -> None:
    """``os.environ`` in every form: item, ``get`` and ``in`` come through ``__getitem__``, the rest iterates."""
    kind: Any = type(os.environ)
    get, iterate, size = kind.__getitem__, kind.__iter__, kind.__len__

    # Who takes all names and then their values in one step (`dict(os.environ)`), and where.
    taking: tuple[FrameType | None, int] = None, 0

    def getitem(self: Any, key: Any) -> Any:
        nonlocal taking
        caller = sys._getframe(1)
        if caller.f_code.co_name == "__iter__" and "_collections_abc" in caller.f_code.co_filename:
            return get(self, key)  # one of all: see `iterated`
        if caller is taking[0]:
            if caller.f_lasti == taking[1]:
                recorder.iterated(caller, False)
                return get(self, key)
            taking = None, 0
        try:
            value = get(self, key)
        except KeyError:
            recorder.variable(key, None, caller)
            raise
        recorder.variable(key, value, caller)
        return value

    def iteration(self: Any) -> Iterator[str]:
        nonlocal taking
        caller = sys._getframe(1)
        # Views have the values, too, but for that of the keys.
        viewed = "_collections_abc" in caller.f_code.co_filename
        keys = viewed and caller.f_code.co_qualname.startswith("KeysView.")
        recorder.iterated(caller, keys or not viewed)
        if keys and caller.f_back is not None:
            taking = caller.f_back, caller.f_back.f_lasti
        result: Iterator[str] = iterate(self)
        return result

    def length(self: Any) -> int:
        recorder.iterated(sys._getframe(1), True)
        count: int = size(self)
        return count

    for name, new, old in (("__getitem__", getitem, get), ("__iter__", iteration, iterate), ("__len__", length, size)):
        setattr(kind, name, new)
        undo.callback(setattr, kind, name, old)


def _watch_arguments(recorder: Recording, undo: contextlib.ExitStack) -> None:
    """``sys.argv`` and ``sys.orig_argv`` as lists that tell when somebody looks at them."""

    def telling(name: str) -> Callable[..., Any]:
        plain: Callable[..., Any] = getattr(list, name)

        def told(self: list[str], *args: Any) -> Any:
            recorder.asked_arguments()
            return plain(self, *args)

        return told

    def pickled(self: list[str], _protocol: int) -> tuple[type[list[str]], tuple[list[str]]]:
        return list, ([*self],)

    kind = type("list", (list,), {name: telling(name) for name in _LOOKS} | {"__reduce_ex__": pickled})
    for name in ("argv", "orig_argv"):
        there = getattr(sys, name)
        watched = kind(there)
        setattr(sys, name, watched)
        undo.callback(_put_back, name, watched, there)


def _put_back(name: str, watched: list[str], there: list[str]) -> None:
    """Unless somebody has set it to something else; what they changed in it stays changed."""
    if getattr(sys, name) is watched:
        if list.__ne__(watched, there):
            there[:] = list.__getitem__(watched, slice(None))
        setattr(sys, name, there)
