"""A file as a git revision has it, by ``git cat-file``: run in the file's own repository, which is only read.

Never fetches and never writes: no lazy download of a partial clone, no refreshed index.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ..kernel.errors import InputError

__all__ = ["at_revision"]

_SECONDS = 60
# These would let git look elsewhere than where the file lies, as a hook's environment does.
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


def at_revision(path: Path, revision: str) -> str | None:
    """The text of ``path`` at ``revision`` (anything ``git rev-parse`` understands; empty: as staged).

    ``None`` where the revision exists and lacks the file. Raises :class:`InputError` where ``path`` is not in a git
    repository, there is no such revision, git is not installed, or the file is not text.
    """
    if revision.startswith("-"):
        raise InputError(f"`{revision}`: expected a git revision, found an option")
    path = Path(os.path.abspath(path))
    folder = next(p for p in path.parents if p.is_dir())
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        raise InputError(
            f"{path}: expected a file in a git repository, found none from {folder} upwards",
            hint="name the lock file itself, without a revision",
        )
    if revision and _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{}}") is None:
        raise InputError(
            f"`{revision}`: no such revision in {top.decode().strip()}",
            hint="a branch, a tag or a commit, such as `main`, `HEAD~1` or `0a1b2c3`; a shallow clone has few of them",
        )
    data = _git(folder, "cat-file", "blob", f"{revision}:./{path.relative_to(folder).as_posix()}")
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise InputError(f"{revision}:{path}: expected UTF-8 text: {e}") from None


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Standard output of ``git``, ``None`` where it fails."""
    environment = {k: v for k, v in os.environ.items() if k not in _ELSEWHERE}
    environment |= {"LC_ALL": "C", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise InputError("git is not installed, and a git revision was asked for") from None
    except subprocess.TimeoutExpired:
        raise InputError(f"{folder}: git did not answer within {_SECONDS} seconds") from None
    if done.returncode and b"dubious ownership" in done.stderr:
        raise InputError(
            f"{folder}: git refuses a repository of another user",
            hint=f"run `git config --global --add safe.directory {folder}` if you trust it",
        )
    return done.stdout if done.returncode == 0 else None
