"""Local files given to a run: copied to where tasks can read them, under a name made of their content.

    runs/inputs/<sha256 of the content>/<file or folder name>

The name does not depend on the run, so that a resumed run's actions have the same inputs and are recognised. Never
changes or links the user's own file: a task must not see later edits.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from ..kernel.errors import InputError
from ..store.files import storing
from .storage import INPUTS_FOLDER, Storage

__all__ = ["upload"]


def upload(storage: Storage, path: Path) -> str:
    """Copy a file or folder; gives its URI as tasks see it. Raises :class:`InputError` for what cannot be read."""
    try:
        digest = _digest(path)
    except OSError as e:
        raise InputError(f"{path}: cannot be read: {e.strerror or e}") from e
    folder = storage.runs / INPUTS_FOLDER / digest
    if not folder.is_dir():
        with storing(folder):
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
            try:
                if path.is_dir():
                    shutil.copytree(path, made / path.name)
                else:
                    shutil.copyfile(path, made / path.name)
                made.chmod(0o755)
                os.rename(made, folder)
            except OSError:
                shutil.rmtree(made, ignore_errors=True)
                if not folder.is_dir():  # another run copied the same thing first
                    raise
    return storage.uri(folder / path.name)


def _digest(path: Path) -> str:
    """Of names and contents, each with its length before it, so that no two trees look alike."""
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if not p.is_dir()) if path.is_dir() else [path]
    for file in files:
        name = str(file.relative_to(path.parent)).encode()
        with file.open("rb") as f:
            content = hashlib.file_digest(f, "sha256").digest()
        digest.update(len(name).to_bytes(8, "big") + name + content)
    return digest.hexdigest()
