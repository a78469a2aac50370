"""What other build systems are given to run the assembler with: a Python interpreter, as a lock.

``builder.json`` is the lock of ``rules/nix/builder.py``, an environment like any other, and lies in the package so that
an installed flyte-build can fetch what Nix will ask for. Reads that one file; never decides what is in it.
"""

from __future__ import annotations

from pathlib import Path

from ..locks.lockfile import Lock, read

__all__ = ["builder"]


def builder() -> Lock:
    """The lock of the interpreter, with its packages for every platform that Nix builds on."""
    found = read(Path(__file__).parent, "builder")
    assert found is not None, "builder.json is part of the package"
    return found
