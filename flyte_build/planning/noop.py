"""Nothing changed: the answer to ``plan`` from a record, without importing flyte, or anything else that is slow.

``recording`` watches a plan being made and writes down all that it depended on; this module checks that every
bit of it is still so, and only then gives the same answer again. Anything unexpected, from an unreadable record to a
file that cannot be looked at, means "plan again", never "nothing changed". Standard library only, and little of it:
what is imported here is paid for by every no-op.
"""

from __future__ import annotations

import json
import os
import sys

try:
    from _hashlib import openssl_sha256 as sha256  # `hashlib` loads every other digest with it
except ImportError:
    from hashlib import sha256

TYPE_CHECKING = False  # `typing` takes two milliseconds
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "SCHEMA",
    "arguments_state",
    "directory_state",
    "environment_state",
    "file_state",
    "key_of",
    "load",
    "record_path",
    "stat_state",
    "true_record",
]

SCHEMA = 2
FILE = 0o100000
_CHUNK = 1 << 20

# Of no meaning to a library that looks through the environment for variables of its own: a terminal's, and those that
# a job's steps have each of their own.
VOLATILE = frozenset({
    "GITHUB_ACTION", "GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STATE", "GITHUB_STEP_SUMMARY",
    "_", "COLUMNS", "LINES", "OLDPWD", "PWD", "SHLVL", "GPG_TTY", "SSH_AUTH_SOCK", "SSH_CLIENT", "SSH_CONNECTION",
    "SSH_TTY", "STY", "TMUX", "TMUX_PANE", "TERM_SESSION_ID", "WINDOW", "WINDOWID", "XDG_SESSION_ID",
})  # fmt: skip

# Who may push: a password is often there for one command only.
_CREDENTIALS = "FLYTE_BUILD_REGISTRY_"

# Their names come and go with every import, and nothing is decided by them.
_IGNORED = frozenset({"__pycache__"})


def _sha(data: bytes) -> str:
    return sha256(data).hexdigest()


def file_state(path: str) -> list[Any] | None:
    """Size in bytes and SHA-256 of a regular file; ``None`` where there is none, why not where it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Not `open`: of two hundred small files it is most of the time.
            data = os.read(handle, _CHUNK)
            while more := os.read(handle, _CHUNK):
                data += more
        finally:
            os.close(handle)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as e:
        return ["unreadable", e.errno]
    return [len(data), _sha(data)]


def stat_state(path: str) -> list[int] | None:
    """What a file's identity shows itself in without reading it; ``None`` where there is none.

    ctime cannot be set by a program, and the inode is another one after every replacement by rename: together
    with size and mtime they miss no change that was made a moment or more after the record.
    """
    try:
        s = os.stat(path)
    except OSError:
        return None
    return [s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev]


def kind_state(path: str) -> int | None:
    """The file type bits of what is at ``path``, links followed; ``None`` for nothing."""
    try:
        return os.stat(path).st_mode & 0o170000
    except OSError:
        return None


def directory_state(path: str) -> str | None:
    """A digest of the names in a folder; ``None`` where it cannot be listed."""
    try:
        names = os.listdir(path)
    except OSError:
        return None
    return _sha("\0".join(sorted(n for n in names if n not in _IGNORED)).encode("utf-8", "surrogateescape"))


def environment_state(name: str) -> str | None:
    """A digest of a variable's value, so that no secret is written down; ``None`` where it is not set."""
    value = os.environ.get(name)
    return None if value is None else _sha(value.encode("utf-8", "surrogateescape"))


def whole_environment(every: bool = True, named: bool = False) -> str:
    """A digest of all variables (of their names alone, where they are only ``named``), or of all but those that mean
    nothing to a library."""
    wanted = sorted((k, v) for k, v in os.environ.items() if every or not (k in VOLATILE or k.startswith(_CREDENTIALS)))
    return _sha("\0".join(k if named else f"{k}={v}" for k, v in wanted).encode("utf-8", "surrogateescape"))


def arguments_state() -> str:
    """A digest of the words of this process's command line."""
    return _sha(json.dumps(sys.argv).encode("utf-8", "surrogateescape"))


def interpreter_state() -> list[Any]:
    """The Python that runs: version, place, options and search path."""
    flags = sys.flags
    return [sys.version, sys.executable, sys.prefix, list(flags), list(sys.path), list(os.uname()), os.getuid()]


def key_of(command: str, arguments: list[str]) -> str:
    """What tells one question from another: the command line, where it is asked, and how it is to look."""
    try:
        columns = os.get_terminal_size(1).columns
    except OSError:
        columns = 0
    looks = [
        os.environ.get(n)
        for n in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM", "TTY_COMPATIBLE", "LANG", "LC_ALL")
    ]
    question = [SCHEMA, command, arguments, os.getcwd(), os.isatty(1), columns, looks]
    return _sha(json.dumps(question).encode("utf-8", "surrogateescape"))


def record_path(key: str) -> str:
    """Where the record of a question lies; the folder of ``kernel.paths.cache_dir``, without its imports."""
    cache = os.environ.get("FLYTE_BUILD_CACHE")
    if not cache:
        base = os.environ.get("XDG_CACHE_HOME", "").strip() or os.path.expanduser("~/.cache")
        cache = os.path.join(base, "flyte-build")
    return os.path.join(os.path.abspath(os.path.expanduser(cache)), "plans", f"{key}.json")


def load(key: str) -> dict[str, Any] | None:
    """The answer that was recorded under ``key``, if all that it depended on is as it was."""
    record = true_record(key)
    return record["answer"] if record is not None else None


def true_record(key: str) -> dict[str, Any] | None:
    """The whole record of it: its ``answer``, and all that this depended on, which is as it was."""
    try:
        with open(record_path(key), "rb") as f:
            record: dict[str, Any] = json.loads(f.read())
        if record["schema"] != SCHEMA or record["key"] != key or "answer" not in record:
            return None
        return record if _unchanged(record) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _unchanged(record: dict[str, Any]) -> bool:
    if record["interpreter"] != json.loads(json.dumps(interpreter_state())):
        return False
    if record["arguments"] not in (None, arguments_state()):
        return False
    if any(environment_state(name) != was for name, was in record["environment"].items()):
        return False
    if any(whole_environment(every, named) != was for every, named, was in record["whole_environment"]):
        return False
    return (
        all(kind_state(path) == was for path, was in record["kinds"].items())
        and all(stat_state(path) == was for path, was in record["stats"].items())
        and all(directory_state(path) == was for path, was in record["directories"].items())
        and all(file_state(path) == was for path, was in record["files"].items())
    )
