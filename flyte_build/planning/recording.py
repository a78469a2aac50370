"""What a plan depended on, written down for ``noop`` to check. ``watching`` has the hooks that tell, ``rows`` says how
what was seen looks now.

What is watched, from the moment the user's file is imported to the finished plan:

- files opened, and tried to open: the user's own and everything else outside of Python's installation by content,
  installed modules by identity (:func:`flyte_build.planning.noop.stat_state`);
- paths looked at (``os.stat`` and its kin), folders listed, and the folders that imports are searched in;
- environment variables read, or all of them when somebody iterates over them;
- the interpreter, its search path and every loaded module's file.

What cannot be written down makes the plan unrepeatable, and no record is kept: a started process, a network
connection, a clock or a random number that the user's own code asks for while it is imported, a file that changes
while we look. The store and the locks need no rule of their own: planning reads them while it is watched.

Of all that, what was seen while the project was read (``kernel.users_code``) is told apart: that is what the project
depends on, whatever is asked of it.

Known limit: a clock or random source that a *third-party* library asks at import time to decide on an image.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from . import noop
from .rows import Rows, Seen, installation, merged, written

__all__ = ["Recording"]

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


class Recording:
    """What one plan depended on. ``unrepeatable`` is the reason why it cannot be recorded, or ``None``, and
    ``unreadable`` why not even the project can."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = _NOWHERE
        if root is not None:
            self.about(root)
        self.unrepeatable: str | None = None
        self.unreadable: str | None = None
        self._began = time.time()
        self._interpreter = noop.interpreter_state()  # as the next process will find it, before the user's root
        self._installed = installation()
        self._seen = Seen(set(), set(), set())
        self._variables: dict[str, str | None] = {}
        self._iterated: set[tuple[bool, bool]] = set()
        self._folders: dict[str, str] = {}
        self._rows = Rows(self._is_installed)
        self._preparing: threading.Thread | None = None
        # Of that, what was seen while the project was read; and while the user's own code ran.
        self._read: set[str] = set()
        self._asked: set[str] = set()
        self._walked: set[tuple[bool, bool]] = set()
        self._within: set[str] = set()
        self._loaded: set[str] = set()  # the modules that there were then, by name
        self._arguments = False
        self._taken: Mapping[str, Any] | None = None
        self.importing = 0  # blocks of the user's own code, in each other
        self.reading = 0  # blocks that read the project, or judge it, in each other
        self.asking = 0  # blocks that ask others, who have no part in it

    def about(self, root: Path) -> None:
        """The project's root, once the settings that say it were read: what is below it is the user's own."""
        self.root = os.path.realpath(root) + os.sep

    def took(self, record: Mapping[str, Any]) -> None:
        """The project is not read, but that of ``record``, which is true: what that depends on, the answer does."""
        self._taken = record
        self._rows.know(record)

    # -- what the hooks tell ---------------------------------------------------------------------

    def refuse(self, why: str) -> None:
        if self.unrepeatable is None:
            self.unrepeatable = why
        if self.importing and self.unreadable is None:
            self.unreadable = why

    def reads(self, more: int) -> None:
        """A block that reads the project begins (1), or ends (-1)."""
        self.reading += more
        self._loaded.update(sys.modules)

    @property
    def _of_project(self) -> bool:
        return bool(self.importing or (self.reading and not self.asking))

    def opened(self, path: Any, mode: Any, flags: Any) -> None:
        name = _path(path)
        if name is None:
            return
        writing = (isinstance(mode, str) and any(c in mode for c in "wax+")) or (
            isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        )
        if not writing and "__pycache__" not in name:
            self._note(self._seen.opened, name)

    def looked(self, path: Any) -> None:
        name = _path(path)
        if name is not None and "__pycache__" not in name:
            self._note(self._seen.looked, name)

    def listed(self, path: Any) -> None:
        name = _path(path if path not in (None, "") else ".")
        if name is not None and "__pycache__" not in name:
            self._note(self._seen.listed, name)

    def _note(self, among: set[str], name: str) -> None:
        among.add(name)
        if self._of_project:
            self._read.add(name)
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
            self._note(self._seen.opened, os.path.expanduser(config))
        for name in _GIT_VARIABLES:
            self.variable(name, os.environ.get(name))

    def variable(self, name: Any, value: Any, frame: FrameType | None = None) -> None:
        if isinstance(name, bytes):  # of `os.environb`
            name, value = os.fsdecode(name), None if value is None else os.fsdecode(value)
        if not isinstance(name, str) or (name in noop.VOLATILE and not self._asked_by_user(frame)):
            return
        self._variables.setdefault(name, value)
        if self._of_project:
            self._asked.add(name)

    def iterated(self, frame: FrameType | None, named: bool) -> None:
        """Somebody iterates over all variables (``named``: over their names, and asks for those that it wants): the
        user's code may use any, a library looks for its own."""
        how = self._asked_by_user(frame), named
        self._iterated.add(how)
        if self._of_project:
            self._walked.add(how)

    def asked_arguments(self) -> None:
        """Somebody looks at the words of the command line: that is for the user's own code to do, and not for them."""
        if self.importing:
            self._arguments = True

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

    def prepare(self) -> None:
        """Begin to look at all that was seen, beside what comes: whoever writes it down then need not do it. Of a
        project that was taken, nearly all was looked at."""
        if self._taken is not None:
            return
        arguments = self._seen, list(sys.modules), self.root
        self._preparing = threading.Thread(target=self._rows.of, args=arguments, name="recorded", daemon=True)
        self._preparing.start()

    def _of(self, seen: Seen, loaded: Iterable[str]) -> dict[str, dict[str, Any]]:
        if self._preparing is not None:
            self._preparing.join()
        return self._rows.of(seen, loaded, self.root)

    def document(self, key: str, answer: Any) -> dict[str, Any] | None:
        """The record, or ``None`` (and ``unrepeatable`` says why) where there can be none."""
        rows = self._of(self._seen, list(sys.modules))
        self._judge(rows, self._variables)
        if self.unrepeatable is not None:
            return None
        found = self._document(key, answer, rows, self._variables, self._iterated)
        if self._taken is None:
            return found
        both = merged(found, self._taken)
        if both is None:
            self.refuse("the project changed while it was planned")
        return both

    def document_of_project(
        self, key: str, answer: Any, apart: Sequence[str], also: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The record of what was seen while the project was read, or ``None`` (and ``unreadable`` says why).

        ``apart``: files and folders (with all in them) that the answer does not depend on, unless the user's own code
        looked there. ``also``: another record that has to be as true.
        """
        exact, below = set(apart), tuple(path + os.sep for path in apart)
        counting = {n for n in self._read if n in self._within or not (n in exact or n.startswith(below))}
        seen = Seen(*(names & counting for names in self._seen))
        rows = self._of(seen, self._loaded)
        variables = {name: self._variables[name] for name in self._asked}
        why, self.unrepeatable = self.unrepeatable, self.unreadable
        self._judge(rows, variables)
        self.unrepeatable, self.unreadable = why, self.unrepeatable
        if self.unreadable is not None:
            return None
        found = self._document(key, answer, rows, variables, self._walked)
        return found if also is None else merged(found, also)

    def _document(
        self,
        key: str,
        answer: Any,
        rows: Mapping[str, Mapping[str, Any]],
        variables: Mapping[str, str | None],
        walked: set[tuple[bool, bool]],
    ) -> dict[str, Any]:
        return {
            "schema": noop.SCHEMA,
            "key": key,
            "interpreter": self._interpreter,
            "arguments": noop.arguments_state() if self._arguments else None,
            "environment": {n: noop.environment_state(n) for n in sorted(variables)},
            "whole_environment": [[*how, noop.whole_environment(*how)] for how in sorted(walked)],
            **rows,
            "answer": answer,
        }

    def _judge(self, rows: Mapping[str, Mapping[str, Any]], variables: Mapping[str, str | None]) -> None:
        """Refuse what changed since it was read, or so lately that a second change could not be seen."""
        for path, known in rows["files"].items():
            state = self._rows.stat(path)
            if state is not None and known is not None and max(state[2], state[3]) / 1e9 > self._began:
                self.refuse(f"{path} changed while it was planned")
        lately = time.time() - _TICK
        for path, state in rows["stats"].items():
            if state is not None and max(state[2], state[3]) / 1e9 > lately:
                self.refuse(f"{path} changed a moment ago")
        for name, value in variables.items():
            if os.environ.get(name) != value:
                self.refuse(f"the variable {name} was changed while it was planned")

    def save(self, key: str, answer: Any) -> bool:
        """Write the record for ``answer``; ``False`` where there can be none. What cannot be written is let be."""
        return written(key, self.document(key, answer))


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
