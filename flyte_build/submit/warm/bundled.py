"""An action's code, unpacked by its own process: the runtime starts `tar` for it, and that `gzip`, in every action.

Runs with the image's Python (3.8 or later), standard library only, in a fork that is a task already, with its rights
and in its folder. What it leaves is what the runtime leaves: the archive, what is in it, its lock and the mark that
says that all of it is there, by which the runtime (2.2 or later; before, by the archive) knows that nothing is left to
do. Only archives of plain files and folders, as the SDK makes them, into a folder that has nothing of theirs; all
others, and what goes wrong here, are the runtime's, which then begins anew.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from typing import Any

LARGEST, MOST = 4 << 20, 32 << 20
"""Bytes of an archive, and of what is in it; beyond them `tar` is sooner."""


def unpack(argv: Sequence[str]) -> bool:
    """Unpack what ``argv``, a runtime's command, names as its code; whether that was done. Raises nothing."""
    options = dict(zip(argv, argv[1:]))  # noqa: B905, RUF007 - Python 3.8 has neither `strict` nor `pairwise`
    source, dest = options.get("--tgz", ""), options.get("--dest", "")
    if not source.startswith("/") or not dest or os.geteuid() == 0:
        return False
    name = os.path.basename(source)
    archive = os.path.join(dest, name)
    made = False
    try:
        members = _members(source, dest, {name, f".{name}.lock", f".{name}.extracted"})
        if members is None:
            return False
        os.umask(mask := os.umask(0o022))
        for path, member, data in members:
            _make(path, member.mode & 0o777 & ~mask, data)
        for path, member, _ in reversed(members):
            os.utime(path, (member.mtime, member.mtime))
        made = True
        shutil.copyfile(source, archive)
        os.chmod(archive, 0o600)  # as the runtime makes it
        for mark in ("lock", "extracted"):
            os.close(os.open(f"{dest}/.{name}.{mark}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    except Exception:
        if made:
            with contextlib.suppress(OSError):
                os.unlink(archive)
        return False
    return True


def _members(source: str, dest: str, others: set[str]) -> list[tuple[str, Any, bytes | None]] | None:
    """Where each is to be, in the archive's order, and its bytes, none of a folder; ``None``: they are not plain."""
    import tarfile  # the runtime has imported it

    found: list[tuple[str, Any, bytes | None]] = []
    if os.path.getsize(source) > LARGEST:
        return None
    taken, size = set(others), 0
    with tarfile.open(source, "r:gz") as tar:
        for member in tar:
            folder, plain = member.type == tarfile.DIRTYPE, member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
            parts = member.name.split("/")
            size += member.size
            if (
                not (folder or plain)
                or member.name in taken
                or not all(parts)
                or {".", ".."} & set(parts)
                or size > MOST
            ):
                return None
            if os.path.lexists(f"{dest}/{parts[0]}") and parts[0] not in taken:
                return None  # of the image, which may be a link
            taken |= {parts[0], member.name}
            content = tar.extractfile(member) if plain else None
            found.append((f"{dest}/{member.name}", member, content.read() if content is not None else None))
    return found


def _make(path: str, mode: int, data: bytes | None) -> None:
    if data is None:
        os.makedirs(path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as f:
            f.write(data)
    os.chmod(path, mode)
