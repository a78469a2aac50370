"""What every root gets that its image may lack: places where a sandbox mounts, and the user that it runs as.

Knows a tree only, which nobody runs in yet.
"""

from __future__ import annotations

import os
from pathlib import Path

from .sandbox.spec import GID, UID
from .unpack import scoped

__all__ = ["find_python", "prepare"]

PYTHONS = ("python3", "python")
# Where the sandbox mounts something: these exist in every root, and are no links.
_FOLDERS = (
    "proc", "dev", "run", "tmp", "var/tmp", "root", "home/flyte", "mnt/flyte", "etc/flyte/secrets",
)  # fmt: skip
_FILES = ("etc/resolv.conf", "etc/hosts")
USER = "flyte"


def prepare(root: Path) -> None:
    """Make the places where the sandbox mounts, and the user it runs as, in an image that lacks them."""
    for name in _FOLDERS:
        path = scoped(root, name)
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            path.unlink()
        path.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        path = scoped(root, name)
        if path.is_symlink() or not path.is_file():
            path.unlink(missing_ok=True)
            path.touch()
            os.utime(path, (0, 0))
    _add_line(root, "etc/passwd", UID, f"{USER}:x:{UID}:{GID}:{USER}:/home/{USER}:/bin/sh")
    _add_line(root, "etc/group", GID, f"{USER}:x:{GID}:")


def _add_line(root: Path, name: str, number: int, line: str) -> None:
    path = scoped(root, name)
    text = path.read_text(errors="surrogateescape") if path.is_file() else ""
    if any(row.split(":")[2:3] == [str(number)] for row in text.splitlines()):
        return
    # A new file: the old one is a hard link to a layer that other images share.
    path.unlink(missing_ok=True)
    if text and not text.endswith("\n"):
        text += "\n"
    path.write_text(text + line + "\n", errors="surrogateescape")
    # Of a date that no later change has.
    os.utime(path, (0, 0))


def find_python(root: Path, env: tuple[str, ...]) -> str | None:
    """The first interpreter in the image's PATH, as a path inside."""
    variables = dict(item.partition("=")[::2] for item in env)
    for folder in (variables.get("PATH") or os.defpath).split(":"):
        for name in PYTHONS:
            if folder.startswith("/") and scoped(root, f"{folder}/{name}", follow=True).is_file():
                return f"{folder}/{name}"
    return None
