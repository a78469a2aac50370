"""Programs that integration tests use: a missing one is a skip on a person's machine and a failure in CI."""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["need"]


def need(program: str, package: str | None = None) -> str:
    """The path of ``program``; ``package`` is the Debian package that brings it, where the names differ."""
    found = shutil.which(program) or shutil.which(program, path="/usr/local/sbin:/usr/sbin:/sbin")
    if found:
        return found
    message = f"{program} is not installed (apt-get install {package or program})"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
