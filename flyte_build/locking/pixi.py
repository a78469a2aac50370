"""What is to be known of a pixi.lock before it is locked: whether it answers its manifest, and can be had from here.

The first pixi says, where it is installed, in a copy of the two files, so that the user's are only read; elsewhere a
note says that nobody did. Its packages have to lie where they can be asked for: on https, or a mirror there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ..kernel.errors import RefusedError
from ..kernel.reporting import Reporter
from ..kernel.scratch import scratch
from ..recipe import CondaInstall, Recipe
from .conda_machine import asked_of_machines
from .pypi.question import trimmed

__all__ = ["hold_locks"]

_SECONDS = 120
_SCHEMES = ("https:", "http:", "file:")


def hold_locks(recipes: Iterable[Recipe], root: Path, reporter: Reporter) -> None:
    """Tell of each pixi.lock of ``recipes`` that does not answer its manifest, or that nothing here can ask about (what
    is installed is what the lock says, either way), and of what its packages ask of machines.

    Raises :class:`RefusedError` for channels that cannot be asked."""
    pixi = shutil.which("pixi")
    for one in dict.fromkeys(recipe.conda for recipe in recipes if recipe.conda is not None):
        _reachable(one, root)
        for platform, _ in one.packages:
            if asked := asked_of_machines(one, platform):
                reporter.note(f"{one.lock} ({platform}): where its tasks run there has to be {asked}")
        if Path(one.file).name not in ("pixi.toml", "pyproject.toml"):
            continue  # a script's is pixi's own, made of it
        if pixi is None:
            reporter.note(f"{one.lock} is not held against {one.file}: pixi, which can tell, is not on the PATH")
        elif words := _said(pixi, one, root):
            reporter.warn(f"{one.lock} does not answer {one.file} as it is now, says pixi: {words}; run `pixi lock`")


def _reachable(one: CondaInstall, root: Path) -> None:
    from ..recipe.pixi import addresses
    from ..sources.conda import mirrored, mirrors

    if not one.packages:
        return
    stated, known = addresses(root / one.lock, one.lock), mirrors(root)
    for package in (package for _, packages in one.packages for package in packages):
        urls = [url for place in stated.get(package.sha256, []) for url in mirrored(place, known)]
        if urls and not any(url.startswith(_SCHEMES) for url in urls):
            channel = urls[0].rpartition("/")[0].rpartition("/")[0]
            raise RefusedError(
                f"{one.lock}: {package.file} is in the channel `{channel}`; expected one of https, http or files",
                hint=f'name a mirror in pixi\'s config.toml (`[mirrors]`: `"{channel}" = ["https://…"]`), or name the '
                "channel by an https address in the manifest and run `pixi lock`",
            )


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
