"""Roots that were given before they were compiled: compiled while a run goes on, for the next one, and filled after it.

What is compiled lies beside layers until then (see ``bytecode``): the roots are in use, and stay as they are.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from ..kernel.errors import FlyteBuildError
from ..store import locks
from .filling import Filling
from .image_documents import Config, Manifest

__all__ = ["Doing", "Late", "Link"]

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

    def compile(self, failed: Callable[[], bool], tell: Callable[[str], None]) -> None:
        """Make what they lack, in this thread, with what the processors have left; nothing more once it ``failed``.

        ``tell`` is told the digest of each image as its turn comes.
        """
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _GENTLY)
        for digest, (root, manifest, config) in list(self._bare.items()):
            # Nobody else works on it meanwhile.
            with suppress(FlyteBuildError, OSError), locks.held(self._locks / f"root-{root.name}"):
                if not failed():
                    tell(digest)
                    self._made[digest] = self._filling.make(root, manifest, config, failed)

    def settle(self, fill: Callable[[Path, str, Manifest, Config, Link], None]) -> None:
        """``fill`` those for which all was made; this process has no share in them any more."""
        for digest, link in self._made.items():
            root, manifest, config = self._bare[digest]
            with suppress(FlyteBuildError, OSError), locks.held(self._locks / f"root-{root.name}"):
                fill(root, digest, manifest, config, link)
        self._bare.clear()
        self._made.clear()


class Doing:
    """What is made beside a run now, for who waits for it; images in the words that become environments' names."""

    def __init__(self, digests: Iterable[str]) -> None:
        self.words = "making ready what is there"
        for digest in list(digests)[:1]:
            self.unpacks(digest)

    def unpacks(self, digest: str) -> None:
        self.words = f"unpacking image {_short(digest)}"

    def compiles(self, digest: str) -> None:
        self.words = f"compiling modules of image {_short(digest)}"


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
