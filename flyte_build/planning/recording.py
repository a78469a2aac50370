"""What a plan depended on, written down for ``noop`` to check. ``watching`` has the hooks that tell.

What is watched, from the moment the user's file is imported to the finished plan:

- files opened, and tried to open: the user's own and everything else outside of Python's installation by content,
  installed modules by identity (:func:`flyte_build.planning.noop.stat_state`);
- paths looked at (``os.stat`` and its kin), folders listed, and the folders that imports are searched in;
- environment variables read, or all of them when somebody iterates over them;
- the interpreter, its search path and every loaded module's file.

What cannot be written down makes the plan unrepeatable, and no record is kept: a started process, a network
connection, a clock or a random number that the user's own code asks for while it is imported, a file that changes
while we look. The store and the locks need no rule of their own: planning reads them while it is watched.

Known limit: a clock or random source that a *third-party* library asks at import time to decide on an image.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import site
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from . import noop

__all__ = ["Recording"]

# Reading a file this large again at every no-op costs more than it tells; its identity is checked instead.
_LARGE = 4 << 20
# A change within one tick of the file system's clock after the look leaves all times as they were.
_TICK = 2.0

# Until the root is known nothing is below it.
_NOWHERE = os.devnull + os.sep

# The SDK looks for its configuration at the repository's root. What git answers depends on where a `.git` is, on
# these variables, and on whom the repository's folders belong to.
_GIT_VARIABLES = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "PATH", "HOME",
)  # fmt: skip
# Functions of these modules give another answer every time.
_UNSTEADY = ("time", "datetime", "random", "secrets", "uuid", "tempfile", "numpy.random", "_random", "_datetime")
_STEADY_NAMES = frozenset(
    {"fromisoformat", "fromtimestamp", "strptime", "strftime", "combine", "seed", "sleep", "isoformat", "replace",
     "timedelta", "gettempdir", "localtime", "mktime", "total_seconds", "UUID", "uuid5", "uuid3"}
)  # fmt: skip


def _installation() -> tuple[str, ...]:
    """Folders of installed code: what is in them changes by installing, not by editing."""
    paths = {*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, sys.exec_prefix, *site.getsitepackages()}
    with contextlib.suppress(Exception):
        paths.add(site.getusersitepackages())
    return tuple(
        sorted({os.path.realpath(p) + os.sep for p in paths if p and p != "/usr"} | {"/usr/lib/", "/usr/share/"})
    )


class Recording:
    """What one plan depended on. ``unrepeatable`` is the reason why it cannot be recorded, or ``None``."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = _NOWHERE
        if root is not None:
            self.about(root)
        self.unrepeatable: str | None = None
        self._began = time.time()
        self._interpreter = noop.interpreter_state()  # as the next process will find it, before the user's root
        self._installed = _installation()
        self._opened: set[str] = set()
        self._looked: set[str] = set()
        self._listed: set[str] = set()
        self._variables: dict[str, str | None] = {}
        self._iterated: set[bool] = set()
        self._folders: dict[str, str] = {}
        # What was opened, looked at or listed while the user's own code ran.
        self._within: set[str] = set()
        self.importing = 0  # blocks of the user's own code, in each other

    def about(self, root: Path) -> None:
        """The project's root, once the settings that say it were read: what is below it is the user's own."""
        self.root = os.path.realpath(root) + os.sep

    # -- what the hooks tell ---------------------------------------------------------------------

    def refuse(self, why: str) -> None:
        if self.unrepeatable is None:
            self.unrepeatable = why

    def opened(self, path: Any, mode: Any, flags: Any) -> None:
        name = _path(path)
        if name is None:
            return
        writing = (isinstance(mode, str) and any(c in mode for c in "wax+")) or (
            isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        )
        if not writing and "__pycache__" not in name:
            self._seen(self._opened, name)

    def looked(self, path: Any) -> None:
        name = _path(path)
        if name is not None and "__pycache__" not in name:
            self._seen(self._looked, name)

    def listed(self, path: Any) -> None:
        name = _path(path if path not in (None, "") else ".")
        if name is not None and "__pycache__" not in name:
            self._seen(self._listed, name)

    def _seen(self, among: set[str], name: str) -> None:
        among.add(name)
        if self.importing:
            self._within.add(name)

    def asked_git(self, cwd: Any) -> None:
        """``git rev-parse --show-toplevel`` was asked in ``cwd``."""
        folder = _path(cwd or ".") or os.getcwd()
        while True:
            self.looked(os.path.join(folder, ".git"))
            if folder == os.path.dirname(folder):
                break
            folder = os.path.dirname(folder)
        for config in ("~/.gitconfig", "~/.config/git/config", "/etc/gitconfig"):
            self._opened.add(os.path.expanduser(config))
        for name in _GIT_VARIABLES:
            self.variable(name, os.environ.get(name))

    def variable(self, name: Any, value: str | None, frame: FrameType | None = None) -> None:
        if not isinstance(name, str) or (name in noop.VOLATILE and not self._asked_by_user(frame)):
            return
        self._variables.setdefault(name, value)

    def iterated(self, frame: FrameType | None) -> None:
        """Somebody iterates over all variables: the user's code may use any, a library looks for its own."""
        self._iterated.add(self._asked_by_user(frame))

    def _asked_by_user(self, frame: FrameType | None) -> bool:
        while frame is not None and frame.f_globals.get("__name__") in ("os", "_collections_abc", "collections.abc"):
            frame = frame.f_back
        return frame is None or self._users(frame.f_code.co_filename)

    def called(self, frame: FrameType, event: str, argument: Any) -> None:
        """The profiler's events: the user's own code asks for something that is another thing every time."""
        if event == "c_call":
            caller, function = frame, argument
            module, name = getattr(function, "__module__", None), getattr(function, "__name__", "")
            if module is None:  # a method of a C type: datetime.now
                owner = getattr(function, "__self__", None)
                kind = owner if isinstance(owner, type) else type(owner)
                module = getattr(kind, "__module__", "")
        elif event == "call" and frame.f_back is not None:
            caller, module, name = frame.f_back, frame.f_globals.get("__name__", ""), frame.f_code.co_name
        else:
            return
        if str(module) in _UNSTEADY and name not in _STEADY_NAMES and self._users(caller.f_code.co_filename):
            if name.startswith("__") or name == "<module>":
                return
            self.refuse(f"{caller.f_code.co_filename}:{caller.f_lineno} asks {module}.{name}")

    def is_users(self, path: Any) -> bool:
        """Whether an opened file is one of the user's own modules."""
        name = _path(path)
        return name is not None and name.endswith((".py", ".pyc")) and self._users(name)

    def _users(self, filename: str) -> bool:
        return self._real(filename).startswith(self.root) and not self._is_installed(filename)

    def _real(self, path: str) -> str:
        """What ``os.path.realpath`` says, a folder looked at once: thousands of modules lie in a few."""
        folder, name = os.path.split(path)
        if name in ("", ".", "..") or not os.path.isabs(path) or os.path.islink(path):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)

    def _is_installed(self, path: str) -> bool:
        real = self._real(path)
        return real.startswith(self._installed) and not (real.startswith(self.root) and not _in_environment(real))

    # -- writing it down -------------------------------------------------------------------------

    def document(self, key: str, answer: Any, apart: Sequence[str] = ()) -> dict[str, Any] | None:
        """The record, or ``None`` (and ``unrepeatable`` says why) where there can be none.

        ``apart``: files and folders (with all in them) that the answer does not depend on, unless the user's own code
        looked there.
        """
        if apart:
            return self._without(apart).document(key, answer)
        modules = {os.path.abspath(f) for m in list(sys.modules.values()) if (f := _file_of(m))}
        folders = {os.path.dirname(m) for m in modules if not self._is_installed(m)}
        files: dict[str, Any] = {}
        stats: dict[str, Any] = {}
        for path in list(self._opened) + sorted(modules - self._opened):
            if _is_made_up(path):
                continue
            large = _size(path) > _LARGE
            if large or (self._is_installed(path) and not path.startswith(self.root)):
                stats[path] = noop.stat_state(path)
            else:
                files[path] = noop.file_state(path)
        looked = {p for p in self._looked if not _is_made_up(p)}
        # Folders are looked at for being there: their times change with every file made in them.
        kinds = {p: noop.kind_state(p) for p in looked}
        stats |= {p: noop.stat_state(p) for p in looked - set(files) if kinds[p] == noop.FILE}
        listed = {p for p in self._listed if not self._is_installed(p)}
        directories = {p: noop.directory_state(p) for p in listed | folders | {self.root.rstrip(os.sep)}}
        stats |= {p: noop.stat_state(p) for p in sys.path if p and os.path.isdir(p) and self._is_installed(p)}
        self._judge(files, stats)
        if self.unrepeatable is not None:
            return None
        return {
            "schema": noop.SCHEMA,
            "key": key,
            "interpreter": self._interpreter,
            "environment": {n: noop.environment_state(n) for n in sorted(self._variables)},
            "whole_environment": [[v, noop.whole_environment(v)] for v in sorted(self._iterated)],
            "files": dict(sorted(files.items())),
            "stats": dict(sorted(stats.items())),
            "kinds": dict(sorted(kinds.items())),
            "directories": dict(sorted(directories.items())),
            "answer": answer,
        }

    def _judge(self, files: dict[str, Any], stats: dict[str, Any]) -> None:
        """Refuse what changed since it was read, or so lately that a second change could not be seen."""
        for path in files:
            state = noop.stat_state(path)
            if state is not None and files[path] is not None and max(state[2], state[3]) / 1e9 > self._began:
                self.refuse(f"{path} changed while it was planned")
        for path, state in stats.items():
            if state is not None and max(state[2], state[3]) / 1e9 > time.time() - _TICK:
                self.refuse(f"{path} changed a moment ago")
        for name, value in self._variables.items():
            if os.environ.get(name) != value:
                self.refuse(f"the variable {name} was changed while it was planned")

    def _without(self, apart: Sequence[str]) -> Recording:
        """The same, less what lies in ``apart``."""
        exact, below = set(apart), tuple(path + os.sep for path in apart)

        def counts(name: str) -> bool:
            return name in self._within or not (name in exact or name.startswith(below))

        less = copy.copy(self)
        less._opened = set(filter(counts, self._opened))
        less._looked = set(filter(counts, self._looked))
        less._listed = set(filter(counts, self._listed))
        return less

    def save(self, key: str, answer: Any, apart: Sequence[str] = ()) -> bool:
        """Write the record for ``answer``; ``False`` where there can be none. What cannot be written is let be.
        ``apart`` as :meth:`document` has it."""
        document = self.document(key, answer, apart)
        path = noop.record_path(key)
        with contextlib.suppress(OSError):
            if document is None:
                os.unlink(path)
                return False
            os.makedirs(os.path.dirname(path), exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), suffix=".tmp")
            with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as f:
                json.dump(document, f)
            os.replace(temporary, path)
            return True
        return False


def _path(value: Any) -> str | None:
    if isinstance(value, int) or value is None:
        return None
    try:
        name = os.fsdecode(value)
    except (TypeError, ValueError):
        return None
    return os.path.abspath(name)


def _in_environment(path: str) -> bool:
    return "site-packages" in path or "dist-packages" in path


def _is_made_up(path: str) -> bool:
    """No file, but what the kernel says just then. Below ``/dev/shm`` are files like any."""
    return path.startswith(("/proc/", "/sys/", "/dev/")) and not path.startswith("/dev/shm/")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _file_of(module: ModuleType) -> str | None:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) and os.path.isabs(file) else None
