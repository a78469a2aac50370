"""Which artifacts were hashed, and how they lay on the disk then: a use costs a stat, and not a hash.

    checked/<hex>     one line: inode, size, mtime, ctime of the artifact, and when it was hashed (all but the first two
                      in nanoseconds since the epoch)

As git's index does it, a record counts only where all of these are as they were, and where the file was last touched
well before it was hashed: a change within one tick of the file system's clock would not show. It saves time and
proves nothing: who may write to the store may write a record, too. So what leaves the store (a push, an export, a
bundle; of an unpacked layer, what was unpacked) is hashed on its way, whatever is recorded. Never fetches, never
repairs: what is not as it should be is moved aside, and whoever needs it gets it anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from ..kernel.errors import FetchError, FlyteBuildError, StoreError
from .files import hash_file

__all__ = ["GRANULARITY", "Proof", "damaged", "proof", "record", "set_aside", "sound_artifact", "sound_blob"]

GRANULARITY = 2_000_000_000
"""Nanoseconds: the coarsest clock of a file system that anyone keeps a cache on."""

_State = tuple[int, int, int, int]


class Contents(Protocol):
    """What is asked of :class:`flyte_build.store.contents.Contents`, which uses this."""

    root: Path
    tmp: Path
    checked: Path

    def artifact(self, sha256: str, size: int | None = None) -> Path | None: ...


def sound_artifact(
    store: Contents,
    sha256: str,
    size: int | None = None,
    name: str = "",
    *,
    always: bool = False,
    hashing: Callable[[Path], str] | None = None,
) -> Path | None:
    """The artifact's path, its bytes hashed now or as recorded; ``None`` where it is not here, or not of this size.

    ``always``: whatever is recorded, as it leaves the store. ``name`` is what a person calls it. ``hashing``: what
    gives a file's SHA-256 in hex, in place of ours. Raises :class:`FetchError` where the bytes are others: then it is
    moved aside.
    """
    path = store.artifact(sha256, size)
    before = _state(path) if path is not None else None
    if path is None or before is None:
        return None
    if not always and _recorded(store, sha256) == before:
        return path
    started = time.time_ns()
    found = _hash(path, hashing)
    if found is None:
        return None
    if found != sha256:
        raise damaged(store.root, path, found, name)
    record(store, sha256, Proof(path, before, started))
    return path


class Proof(NamedTuple):
    """How an artifact lay when its hashing began, and when that was (nanoseconds since the epoch)."""

    path: Path
    state: _State
    started: int


def proof(store: Contents, sha256: str) -> Proof | None:
    """For whoever hashes the artifact himself; ``None`` where it was, as it lies, or is not here."""
    path = store.artifact(sha256)
    before = _state(path) if path is not None else None
    if path is None or before is None or _recorded(store, sha256) == before:
        return None
    return Proof(path, before, time.time_ns())


def record(store: Contents, sha256: str, how: Proof) -> None:
    """It was found to be what it should be: note it, where it still lies as it did."""
    if _state(how.path) == how.state:
        _record(store, sha256, how.state, how.started)


def sound_blob(root: Path, path: Path, name: str = "") -> None:
    """Hash a blob of the store in ``root`` on its way out. Raises :class:`StoreError` where its bytes are others: then
    it is moved aside."""
    found = _hash(path)
    if found != path.name:
        raise damaged(root, path, found, name)


def damaged(root: Path, path: Path, found: str | None, name: str = "") -> FlyteBuildError:
    """Move ``path``, named by the SHA-256 that it should have, aside; the error that says so.

    :class:`FetchError` for an artifact, :class:`StoreError` for a blob. ``found``: the hash it has, ``None``: no file.
    """
    artifact = path.parent.parent.name == "artifacts"
    kind = FetchError if artifact else StoreError
    what = f"{name}: the copy in the store is not what was locked" if name and artifact else f"{name or path}: damaged"
    moved = set_aside(root, path) if found is not None else None
    message = f"{what}: expected SHA-256 {path.name}, found {found or 'no file'}"
    if found is not None and moved is None:
        hint = "it could not be moved aside: remove it, or set FLYTE_BUILD_CACHE to another folder"
        return kind(f"{message} in {path}", hint=hint)
    mended = "it is fetched again" if artifact else "what it was part of is made again"
    return kind(
        message + (f"\n  moved to {moved}" if moved is not None else ""),
        hint=f"run this again: {mended}; `flyte-build store verify` looks at all the rest",
    )


def set_aside(root: Path, path: Path) -> Path | None:
    """Move a bad file out of the way, under a name that says where it was; ``None`` where that is not allowed."""
    with suppress(OSError):
        corrupt = root / "corrupt"
        corrupt.mkdir(exist_ok=True)
        name = "-".join(path.relative_to(root).parts)
        for number in range(1, 1000):
            target = corrupt / f"{name}.{number}"
            if not target.exists():
                os.replace(path, target)
                return target
    return None


# -- the record --------------------------------------------------------------------------------------


def _recorded(store: Contents, sha256: str) -> _State | None:
    """How the artifact lay when it was hashed; ``None`` where that is not known, or was too young to tell."""
    try:
        inode, size, mtime, ctime, hashed = map(int, (store.checked / sha256).read_bytes().split())
    except (OSError, ValueError):
        return None
    return (inode, size, mtime, ctime) if hashed - max(mtime, ctime) > GRANULARITY else None


def _record(store: Contents, sha256: str, state: _State, hashed: int) -> None:
    """Write it, whole or not at all. One that would not count is not written, and neither is one that cannot be."""
    if hashed - max(state[2:]) <= GRANULARITY:
        return
    with suppress(OSError):
        store.checked.mkdir(exist_ok=True)
        # By its name it is swept with what dead sessions left.
        temporary = store.tmp / f"session-checked-{os.urandom(6).hex()}"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "w") as f:
                f.write(" ".join(map(str, (*state, hashed))) + "\n")
            os.replace(temporary, store.checked / sha256)
        except OSError:
            os.unlink(temporary)
            raise


def _state(path: Path) -> _State | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _hash(path: Path, hashing: Callable[[Path], str] | None = None) -> str | None:
    try:
        return hashing(path) if hashing is not None else hash_file(path)[0]
    except FileNotFoundError:
        return None
    except OSError as e:
        raise StoreError(
            f"{path}: cannot be read: {e.strerror or e}",
            hint="check the folder's owner and permissions, or remove the file: what is missing is had anew",
        ) from e
