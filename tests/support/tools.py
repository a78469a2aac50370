"""Programs that integration tests use: a missing one is a skip on a person's machine and a failure in CI."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ["lacking", "need", "need_root"]


def lacking(message: str) -> NoReturn:
    """What the machine lacks: the test is skipped for a person, and fails in CI."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def need(program: str, package: str | None = None) -> str:
    """The path of ``program``; ``package`` is the Debian package that brings it, where the names differ."""
    found = shutil.which(program) or shutil.which(program, path="/usr/local/sbin:/usr/sbin:/sbin")
    if not found:
        lacking(f"{program} is not installed (apt-get install {package or program})")
    return found


def need_root(why: str) -> None:
    """Daemons of containers, other users and bare machines take root."""
    if os.geteuid() != 0:
        lacking(f"{why} takes root")
