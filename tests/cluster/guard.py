"""Ends a test's cluster when the tests are gone that started it: killed, or ended without a word by whoever ran them.

    python -m tests.cluster.guard

reads the cluster's folder, a line, and waits for the end of its standard input.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .cluster import ROOT, Cluster

__all__ = ["guarded"]


@contextmanager
def guarded(home: Path) -> Iterator[None]:
    """Whatever becomes of this process meanwhile, the cluster in ``home`` does not outlive it; nor where what is done
    meanwhile ends badly."""
    # Not among its words: by those one looks for what is left of a cluster.
    words = [sys.executable, "-m", "tests.cluster.guard"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    # Of a session of its own: what is sent to the tests' group is not for it.
    with subprocess.Popen(
        words, env=environ, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    ) as guard:
        assert guard.stdin is not None
        guard.stdin.write(f"{home}\n".encode())
        guard.stdin.flush()
        yield
        guard.kill()


if __name__ == "__main__":
    guarded_home = Path(sys.stdin.readline().rstrip("\n"))
    # The other end is this pipe's only one, and ends with whoever holds it.
    sys.stdin.read()
    Cluster(guarded_home).down()
