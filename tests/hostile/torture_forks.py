"""Processes that are killed a thousand times: forked from one that has imported all that they need.

What is killed is the work then, and not Python's start; and a round costs a fraction of the time. Each is a process of
its own, with its own folder, environment and output.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

__all__ = ["cli", "ours", "start"]

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.hostile.torture_preload"])


def start(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    process = _CONTEXT.Process(target=function, args=arguments)
    process.start()
    return process


def cli(words: Sequence[str], folder: Path, environ: Mapping[str, str], said: Path) -> None:
    """Runs flyte-build's command line in ``folder``; output and errors go to ``said.out`` and ``said.err``."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    tempfile.tempdir = None
    for number, suffix in ((1, ".out"), (2, ".err")):
        handle = os.open(said.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    sys.argv = ["flyte-build", *words]
    from flyte_build.cli import main

    raise SystemExit(main(list(words)))


def ours() -> set[int]:
    """The processes that forks come from, which live as long as this one."""
    servers: tuple[Any, Any] = (forkserver._forkserver, resource_tracker._resource_tracker)  # type: ignore[attr-defined]
    return {os.getpid(), servers[0]._forkserver_pid or 0, servers[1]._pid or 0}
