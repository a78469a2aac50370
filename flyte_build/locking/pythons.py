"""Which relocatable CPython an image gets: the newest release of its minor version that uv can install.

Under a cut-off, the newest whose build is not after it. Where none can be had the error names every way to that Python.
"""

from __future__ import annotations

from pathlib import Path

from ..kernel.errors import FetchError, FlyteBuildError, ResolutionError
from ..kernel.paths import cache_dir
from ..kernel.platforms import Platform
from ..kernel.reporting import Reporter
from ..locks.nouns import LockedPython
from ..sources.pythons import Build, bring, builds
from .bases import PythonFinder

__all__ = ["find_python", "newest"]

_WAYS = (
    "let uv reach its Pythons (UV_PYTHON_INSTALL_MIRROR, `python-install-mirror` in uv.toml or [tool.uv]); or take a "
    'Python that Debian has (3.11, 3.13, 3.14); or set `base = "registry"` in [tool.flyte-build], for the official '
    "slim image"
)


def find_python(root: Path, reporter: Reporter) -> PythonFinder:
    """What finds Pythons as uv is configured for the project in ``root``."""

    def find(minor: str, platform: Platform, at: str | None) -> LockedPython:
        try:
            build = newest(builds(minor, platform, root), minor, platform, at)
            with reporter.work(f"Python {build.version} for {platform}: {build.file}"):
                found = bring(build, root, cache_dir() / "pythons")
        except FlyteBuildError as e:
            if isinstance(e, ResolutionError):
                raise
            raise FetchError(f"Python {minor} for {platform} cannot be had: {e.message}", hint=_WAYS) from None
        reporter.note(f"Python {found.version} ({platform}) is the relocatable build that uv installs: {found.file}")
        return found

    return find


def newest(every: list[Build], minor: str, platform: Platform, at: str | None) -> Build:
    """The first of ``every`` (newest first) that was built by ``at`` (RFC 3339); raises :class:`ResolutionError`."""
    day = at[:10].replace("-", "") if at is not None else None
    for build in every:
        if day is None or (build.date is not None and build.date <= day):
            return build
    if not every:
        raise ResolutionError(f"uv knows no CPython {minor} for {platform}", hint=_WAYS)
    dates = sorted(build.date for build in every if build.date is not None)
    there = f"the oldest is of {dates[0]}" if dates else "none says when it was built"
    raise ResolutionError(
        f"uv knows no CPython {minor} for {platform} that was built by {at}: {there}",
        hint="give a later cut-off with --exclude-newer, or take a Python that Debian has (3.11, 3.13, 3.14)",
    )
