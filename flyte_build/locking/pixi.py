"""Whether a pixi.lock answers its manifest: pixi says so, where it is installed; else a note says that nobody did.

pixi is asked in a copy of the two files, so that the user's are only read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ..kernel.reporting import Reporter
from ..kernel.scratch import scratch
from ..recipe import CondaInstall, Recipe
from .pypi.question import trimmed

__all__ = ["hold_locks"]

_SECONDS = 120


def hold_locks(recipes: Iterable[Recipe], root: Path, reporter: Reporter) -> None:
    """Tell of each pixi.lock of ``recipes`` that does not answer its manifest, or that nothing here can ask about.
    Never an error: what is installed is what the lock says, either way."""
    pixi = shutil.which("pixi")
    for one in dict.fromkeys(recipe.conda for recipe in recipes if recipe.conda is not None):
        if Path(one.file).name not in ("pixi.toml", "pyproject.toml"):
            continue  # a script's is pixi's own, made of it
        if pixi is None:
            reporter.note(f"{one.lock} is not held against {one.file}: pixi, which can tell, is not on the PATH")
        elif words := _said(pixi, one, root):
            reporter.warn(f"{one.lock} does not answer {one.file} as it is now, says pixi: {words}; run `pixi lock`")


def _said(pixi: str, one: CondaInstall, root: Path) -> str:
    """pixi's words where it says that the lock would be another; empty where it is as it should be."""
    with scratch() as folder:
        for name, source in ((Path(one.file).name, one.file), ("pixi.lock", one.lock)):
            shutil.copyfile(root / source, folder / name)
        command = [pixi, "lock", "--check", "--no-progress", "--color", "never"]
        command += ["--manifest-path", str(folder / Path(one.file).name)]
        env = {**os.environ, "TMPDIR": str(folder)}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=env, cwd=folder, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        words = trimmed(done.stderr or done.stdout, folder, limit=3)
        return " ".join(words.split()) or f"exit code {done.returncode}" if done.returncode else ""
