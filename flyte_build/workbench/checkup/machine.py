"""This machine: the programs that are needed, what can be isolated and limited here, the folders that are written."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...kernel.cgroups import Cgroups
from ...kernel.errors import FlyteBuildError, SandboxError
from ...kernel.paths import cache_dir, state_dir
from ...kernel.quantities import size
from ...kernel.version import __version__
from ...native import core
from ...sources.indexes.settings import uv_binary
from ...submit.sandbox.entrance import choose
from .lines import Line, bad, good, note, of_error

__all__ = ["of_machine"]

AREA = "machine"
# Three environments with science packages, packed and unpacked, fit in it.
_ROOM = 5 * 10**9


def of_machine() -> Iterator[Line]:
    """The lines about this machine; nothing leaves it."""
    yield good(AREA, "flyte-build", f"{__version__} on Python {platform.python_version()}, {_system()}")
    yield _core()
    yield _sdk()
    yield _program("uv", uv_binary(), "resolves Python packages", "pip install uv")
    verifier = shutil.which("gpgv") or shutil.which("sqv")
    yield _program("gpgv", verifier, "verifies Debian's Release files", "apt-get install gpgv")
    yield from _isolation()
    yield _folder("store", "$FLYTE_BUILD_CACHE", cache_dir())
    yield _folder("runs", "$FLYTE_BUILD_STATE", state_dir())


def _system() -> str:
    return f"{platform.system()} {platform.release()} {platform.machine()}"


def _core() -> Line:
    try:
        found = core()
    except FlyteBuildError as e:
        return of_error(AREA, "assembler", e)
    if found.library is not None:
        return good(AREA, "assembler", "the native core")
    return note(AREA, "assembler", f"{found}: the same layers, more slowly", "docs/core.md")


def _linux() -> bool:
    return sys.platform == "linux"


def _sdk() -> Line:
    try:
        return good(AREA, "flyte", f"the SDK {importlib.metadata.version('flyte')}")
    except importlib.metadata.PackageNotFoundError:
        return bad(AREA, "flyte", "the SDK is not installed beside flyte-build", "pip install flyte", 3)


def _program(name: str, found: str | None, does: str, command: str) -> Line:
    if found is None:
        return bad(AREA, name, f"not installed: it {does}", command, 7)
    done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    first = next(iter(done.stdout.splitlines()), "").strip()
    return good(AREA, name, f"{first or found}: {does}")


def _isolation() -> Iterator[Line]:
    if not _linux():
        yield note(
            AREA,
            "sandboxes",
            f"{platform.system()} has none: lock, plan, build, push and export work, `run` does not",
            "run on a cluster with `run --on TARGET`, or on a Linux machine (docs/macos.md)",
        )
        return
    try:
        found = choose(folders=(cache_dir(), state_dir()))
    except SandboxError as e:
        yield bad(AREA, "sandboxes", e.message, e.hint, e.exit_code)
        return
    owner = "under an id of their own" if found.owner is not None else "as this user"
    yield good(AREA, "sandboxes", f"tasks run in {found.name}, {owner}; they reach: {found.network}")
    for sentence in found.said:
        yield note(AREA, "sandboxes", sentence)
    limits = Cgroups.detect()
    have = [name for name in ("memory", "cpu", "pids") if getattr(limits, name) is not None]
    lacking = [name for name in ("memory", "cpu", "pids") if name not in have]
    if lacking:
        yield note(
            AREA,
            "limits",
            f"not enforced here: {', '.join(lacking)}",
            "a delegated control group gives them: `systemd-run --user --scope -p Delegate=yes flyte-build run …`",
        )
    else:
        yield good(AREA, "limits", "memory, cpu and processes of a task are limited")


def _folder(name: str, variable: str, folder: Path) -> Line:
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
        inodes = os.statvfs(there).f_favail
    except OSError as e:
        way_out = f"set {variable} to a folder that can be written"
        return bad(AREA, name, f"{folder}: cannot be written: {e.strerror or e}", way_out, 9)
    if free < _ROOM or 0 < inodes < 100_000:
        left = f"{size(free)} and {inodes:,} files are left"
        return note(AREA, name, f"{folder}: {left}", f"`flyte-build store gc` frees some; {variable} names another")
    return good(AREA, name, f"{folder}: {size(free)} free")
