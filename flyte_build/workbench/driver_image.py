"""The image of a run's driver: flyte-build itself and what it requires, on Debian, by its own locks and builds.

What is locked lies in the state folder, by the wheel that it is for; the image is pushed beside a project's own.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ..kernel.paths import targets_dir
from ..kernel.platforms import Platform, host_platform
from ..kernel.reporting import Reporter
from ..planning.workspace import Workspace
from ..project.nouns import Environment, Project
from ..recipe import DebianBase, PipInstall, Recipe
from ..settings import Settings
from ..store import Store
from .own_wheel import own_wheel
from .pipeline import ensure_locked, publish_images

__all__ = ["driver_platforms", "driver_project", "driver_reference"]

NAME = "flyte-build-driver"
_PLATFORMS: tuple[Platform, ...] = ("linux/amd64", "linux/arm64")
_SUITE, _PYTHON = "bookworm", "3.11"
# As the extra `kubernetes` of our own package has it.
_CLIENT = "kubernetes>=31,!=36.0.0"


def driver_project(platforms: tuple[str, ...]) -> Workspace:
    """The driver as a project of one environment, for images of ``platforms``; nothing is locked yet."""
    wheel = own_wheel(targets_dir() / "driver" / "new")
    mark = hashlib.sha256(wheel.read_bytes()).hexdigest()[:16]
    root = targets_dir() / "driver" / mark
    root.mkdir(parents=True, exist_ok=True)
    own = root / wheel.name
    if not own.exists():
        wheel.replace(own)
    wanted = driver_platforms(platforms)
    recipe = Recipe(DebianBase(_SUITE), wanted, _PYTHON, None, (PipInstall((_CLIENT,), wheels=(wheel.name,)),))
    environment = Environment(NAME, (), str(own), recipe)
    # The lock is for its platforms, and another set of them has a lock of its own.
    return Workspace(Project(own, root, {NAME: environment}, ()), root / f"lockfiles-{'-'.join(_words(wanted))}")


def driver_platforms(platforms: tuple[str, ...]) -> tuple[Platform, ...]:
    """Those of ``platforms`` that the driver's image is made for; this machine's, where none of them is."""
    return tuple(p for p in _PLATFORMS if p in platforms) or (host_platform(),)


def _words(platforms: tuple[Platform, ...]) -> list[str]:
    return [platform.rpartition("/")[2] for platform in platforms]


def driver_reference(settings: Settings, reporter: Reporter) -> str:
    """``repository@sha256:…`` of the driver's image, made and pushed where that was not done before.

    For the platforms and the registry of ``settings``. Raises what locking, building and pushing raise.
    """
    workspace = driver_project(settings.platforms)
    environments = list(workspace.project.environments.values())
    store = Store()
    ensure_locked(workspace, environments, reporter, write=True, store=store)
    plain = replace(settings, platforms=(), sign_key=None)
    (pushed,) = publish_images(workspace, environments, store, plain, reporter, attest=False)
    return str(pushed.reference)
