"""A Python for process 1 of containers whose image has none: this interpreter, with the few files it needs.

It is started by its own loader with its own libraries, so nothing of the image is in it, whatever C library that has.
What is shown is this machine's Python and nothing else of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import replace
from functools import cache
from pathlib import Path

from ..sandbox.engines import PROBE_SECONDS
from ..sandbox.spec import Mount, Sandbox

__all__ = ["with_python"]

_PLACE = "/run/flyte-build/python"
# What process 1 imports; the files that are then in memory are what it needs besides the standard library.
_ASK = (
    "import contextlib, errno, json, os, select, signal, socket, sys, threading\n"
    "for line in open('/proc/self/maps'):\n"
    "    words = line.split(None, 5)\n"
    "    if len(words) == 6: print(words[5].strip())\n"
)


def with_python(box: Sandbox) -> Sandbox:
    """``box`` with a Python, where it has none."""
    if box.python:
        return box
    program, loader, mounts = _files()
    return replace(box, python=program, loader=loader, mounts=(*box.mounts, *mounts))


@cache
def _files() -> tuple[str, tuple[str, ...], tuple[Mount, ...]]:
    """The program inside, what starts it, and what has to be shown. Blocks for the time of an interpreter's start."""
    real = Path(os.path.realpath(sys.executable))
    done = subprocess.run(
        [str(real), "-I", "-S", "-c", _ASK], capture_output=True, text=True, timeout=PROBE_SECONDS, check=True
    )
    library = Path(sysconfig.get_path("stdlib"))
    loaded = {Path(line) for line in done.stdout.splitlines() if ".so" in line and line.startswith("/")}
    shared = sorted(path for path in loaded if not path.is_relative_to(library))
    program = f"{_PLACE}/bin/{real.name}"
    mounts = [Mount(real, program), Mount(library, f"{_PLACE}/{sys.platlibdir}/{library.name}")]
    mounts += [Mount(path, f"{_PLACE}/needed/{path.name}") for path in shared]
    loader = next((path for path in shared if path.name.startswith(("ld-", "ld.")) or path.name == "ld64.so.2"), None)
    if loader is None:
        return program, (), tuple(mounts)
    start = (f"{_PLACE}/needed/{loader.name}", "--library-path", f"{_PLACE}/needed")
    return program, start, tuple(mounts)
