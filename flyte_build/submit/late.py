"""Roots that were given before they were compiled: compiled while a run goes on, for the next one, and filled after it.

What is compiled lies beside layers until then (see ``bytecode``): the roots are in use, and stay as they are.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from ..kernel.errors import FlyteBuildError
from ..store import locks
from .filling import Filling
from .image_documents import Config, Manifest

__all__ = ["Late", "Link"]

Link: TypeAlias = Callable[[], Mapping[str, str]]
"""Puts bytecode into a root; how its files lie → their SHA-256."""

_GENTLY = 10
"""Of setpriority(2); the last of all would never come to its end on a busy machine, and is waited for."""


class Late:
    """Those of one run; ``locks`` is the folder of locks."""

    def __init__(self, filling: Filling, locks: Path) -> None:
        self._filling = filling
        self._locks = locks
        self._bare: dict[str, tuple[Path, Manifest, Config]] = {}
        self._made: dict[str, Link] = {}

    def add(self, digest: str, root: Path, manifest: Manifest, config: Config) -> None:
        self._bare[digest] = root, manifest, config

    def compile(self, failed: Callable[[], bool]) -> None:
        """Make what they lack, in this thread, with what the processors have left; nothing more once it ``failed``."""
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _GENTLY)
        for digest, (root, manifest, config) in list(self._bare.items()):
            # Nobody else works on it meanwhile.
            with suppress(FlyteBuildError, OSError), locks.held(self._locks / f"root-{root.name}"):
                if not failed():
                    self._made[digest] = self._filling.make(root, manifest, config, failed)

    def settle(self, fill: Callable[[Path, str, Manifest, Config, Link], None]) -> None:
        """``fill`` those for which all was made; this process has no share in them any more."""
        for digest, link in self._made.items():
            root, manifest, config = self._bare[digest]
            with suppress(FlyteBuildError, OSError), locks.held(self._locks / f"root-{root.name}"):
                fill(root, digest, manifest, config, link)
        self._bare.clear()
        self._made.clear()
