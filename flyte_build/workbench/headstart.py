"""Images are unpacked from the moment that a run is asked for, beside the import of the user's file.

    plans/<SHA-256 of the file's path>.images    {"schema": 1, "tasks": {task: environment}, "images": {environment:
                                                 manifest digest}}, of what was last built of the file

Which images a run needs is known once its file was imported, and a first run's unpacking takes as long as that. What
was built last is a good guess, and no more: nobody believes it, and the run asks for its roots by digest as ever. What
was made in the meantime is as if the run had made it just now: :func:`sealed` says what it was sealed as.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.documents import parse_object
from ..kernel.errors import RefusedError
from ..kernel.files import write_whole
from ..kernel.paths import cache_dir
from ..kernel.platforms import host_platform

if TYPE_CHECKING:
    from ..store.built import BuiltImage
    from .opened import OpenProject

__all__ = ["Headstart", "begin", "note", "sealed"]

_SCHEMA = 1


def note(bench: OpenProject, built: Iterable[BuiltImage]) -> None:
    """These are the images of the project now; those for this machine are kept in mind."""
    images: dict[str, str] = {}
    with suppress(RefusedError):
        here = host_platform()
        images = {image.environment: image.manifest_digest for image in built if image.platform == here}
    if not images:
        return
    tasks = {n: t.environment for t in bench.tasks for n in (t.full_name, t.name) if t.environment in images}
    document = json.dumps({"schema": _SCHEMA, "tasks": tasks, "images": images}, sort_keys=True).encode()
    path = _path(bench.store.root, bench.file)
    with suppress(OSError):
        if not path.is_file() or path.read_bytes() != document:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, document)


def begin(file: Path, task: str) -> Headstart | None:
    """Unpack what a run of ``task`` is likely to need; ``None`` where nothing is, or nobody knows."""
    root = cache_dir()
    try:
        found = parse_object(_path(root, file).read_bytes())
        images, environment = dict(found["images"]), found["tasks"][task]
        digests = dict.fromkeys([str(images[environment]), *map(str, images.values())])
        missing = [d for d in digests if not os.path.lexists(root / "roots" / d.removeprefix("sha256:"))]
        if found.get("schema") != _SCHEMA or not missing:
            return None
        # Not what lies in the user's folder by the name of one of its modules.
        begun = Headstart(
            subprocess.Popen(
                [sys.executable, "-P", "-m", "flyte_build.submit.ahead", str(root), *missing],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            )
        )  # fmt: skip
        _BEGUN.append(begun)
        return begun
    except (OSError, ValueError, KeyError, TypeError):
        return None


def sealed(digest: str) -> str | None:
    """The seal of the root of an image, if it was made for this process since :func:`begin`."""
    return next((seal for one in _BEGUN if (seal := one.sealed(digest)) is not None), None)


class Headstart:
    """The process that unpacks; ``end`` it when the run has ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._said = b""
        self._guard = threading.Lock()
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)

    def sealed(self, digest: str) -> str | None:
        """What it has sealed the root of that image as, so far."""
        with self._guard:
            with suppress(OSError, ValueError):
                while self._process.stdout is not None and (more := self._process.stdout.read(1 << 12)):
                    self._said += more
            # What it is about to say is no line yet.
            lines = (line.decode(errors="replace").split(" ") for line in self._said.split(b"\n")[:-1])
            return next((line[1] for line in lines if len(line) == 2 and line[0] == digest), None)

    def end(self) -> None:
        """What is half made then is swept by whoever unpacks next."""
        if self in _BEGUN:
            _BEGUN.remove(self)
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


_BEGUN: list[Headstart] = []


def _path(root: Path, file: Path) -> Path:
    return root / "plans" / f"{hashlib.sha256(os.fsencode(os.path.abspath(file))).hexdigest()}.images"
