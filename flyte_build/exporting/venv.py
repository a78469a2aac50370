"""A lock's wheels as a virtual environment (PEP 405) on this machine, for editors, debuggers and notebooks.

uv makes it and installs into it; it is given the locked wheels as files and their hashes, asks no index, and resolves
nothing. A second call brings the same folder up to date, removing what the lock has not. What is not Python is left
out, as from a PEX. A folder that this did not make is never touched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..kernel.errors import ArtifactError, InputError, RefusedError
from ..kernel.files import write_whole
from ..kernel.outputs import check_place, refusal_in, writing
from ..kernel.patience import patiently
from ..kernel.platforms import host_platform
from ..kernel.reporting import Reporter
from ..locks.nouns import Lock, LockedWheel
from ..sources.indexes.settings import uv_binary
from .requirements import requirements_text
from .wheels import put_wheels

__all__ = ["MARK", "Made", "make_venv", "venv_platform"]

MARK = "flyte-build.json"
"""The file in the folder that says that it is ours, and of which lock."""

_PATH_FILE = "flyte_build_project.pth"
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Made:
    """The virtual environment in ``folder``; ``fresh``: it was not there before."""

    folder: Path
    environment: str
    python: str
    wheels: int
    fresh: bool

    @property
    def interpreter(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"


def venv_platform(lock: Lock) -> str:
    """This machine's platform, where ``lock`` has wheels for it. Raises :class:`RefusedError` where it has not."""
    here = host_platform() if sys.platform == "linux" else sys.platform
    if here not in lock.platforms:
        raise RefusedError(
            f"{lock.environment}: this machine is {here}, and the lock has wheels for "
            f"{', '.join(sorted(lock.platforms))} only",
            hint="a virtual environment holds wheels of its own machine: make it on Linux, or lock for this platform",
        )
    if not lock.python:
        raise RefusedError(f"{lock.environment}: the image has no Python, so that there is nothing to install")
    return here


def make_venv(
    lock: Lock,
    wheels: Mapping[LockedWheel, Path],
    folder: Path,
    *,
    root: Path | None,
    scratch: Path,
    reporter: Reporter,
    python: str | None = None,
) -> Made:
    """Make or update the virtual environment in ``folder``, with exactly ``wheels`` in it.

    ``root``: the project's folder, put on its path. ``python``: the interpreter (default: any of the lock's minor
    version that uv finds). Raises :class:`InputError` for a folder that is something else or without uv,
    :class:`ArtifactError` for what uv refuses, :class:`StoreError` where the folder cannot be written.
    """
    platform = venv_platform(lock)
    uv = uv_binary()
    if uv is None:
        raise InputError("`venv` needs uv, which is not installed", hint="run `pip install uv`")
    fresh = not folder.exists()
    if not fresh and not (folder / MARK).is_file() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise InputError(
            f"{folder}: expected no folder, or one that `flyte-build venv` made, found another",
            hint="name another folder with --output, or remove this one yourself",
        )
    check_place(folder)
    put_wheels(scratch / "wheels", wheels)
    (scratch / "requirements.txt").write_text(requirements_text(lock, [platform]), encoding="utf-8")
    with reporter.work(f"make the virtual environment of {lock.environment}"), patiently("what was begun is removed"):
        try:
            if fresh or not _is_of(folder, lock.python):
                made = [uv, "venv", "--no-project", "--clear", "--python", python or lock.python]
                with writing(folder):
                    folder.mkdir(parents=True, exist_ok=True)
                _run([*made, "--prompt", lock.environment, str(folder)], scratch, folder)
                _mark(folder, lock)
            install = [uv, "pip", "sync", "--no-index", "--require-hashes", "--no-build", "--find-links", "wheels"]
            _run([*install, "--python", str(folder / "bin" / "python"), "requirements.txt"], scratch, folder)
            _mark(folder, lock)
            if root is not None:
                _put_on_path(folder, lock.python, root)
        except BaseException:
            if fresh:
                shutil.rmtree(folder, ignore_errors=True)
            raise
    return Made(folder, lock.environment, lock.python, len(wheels), fresh)


def _is_of(folder: Path, python: str) -> bool:
    """Whether the folder's interpreter is there, and of this minor version."""
    return (folder / "bin" / "python").exists() and (folder / "lib" / f"python{python}").is_dir()


def _mark(folder: Path, lock: Lock) -> None:
    said = {"schema": 1, "environment": lock.environment, "fingerprint": lock.fingerprint}
    with writing(folder):
        write_whole(folder / MARK, json.dumps(said) + "\n")


def _put_on_path(folder: Path, python: str, root: Path) -> None:
    """A path configuration file (module ``site``): the project's own modules are found, as in its tasks."""
    with writing(folder):
        write_whole(folder / "lib" / f"python{python}" / "site-packages" / _PATH_FILE, f"{root}\n")


def _run(command: list[str], scratch: Path, folder: Path) -> None:
    """Run uv with no configuration but ours; it may look for, and fetch, a Python as it is configured to."""
    kept = ("UV_CACHE_DIR", "UV_PYTHON_", "UV_MANAGED_PYTHON", "UV_NO_MANAGED_PYTHON", "UV_OFFLINE")
    ours = ("UV_", "PIP_", "VIRTUAL_ENV")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(ours) or k.startswith(kept)}
    done = subprocess.run(
        [command[0], "--no-config", "--no-progress", "--color", "never", *command[1:]],
        cwd=scratch,
        env=clean,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().replace(f"{scratch}/", "").splitlines()
        if str(folder) in done.stderr:
            with writing(folder):
                refusal_in(done.stderr)
        raise ArtifactError(
            f"uv ended with exit code {done.returncode}",
            detail="\n".join(lines[:_SHOWN]),
            hint="the wheels are those of the image: this machine's Python and C library have to take them; "
            "--python chooses an interpreter",
        )
