"""The SDK's choice of a code bundle's files, with each path resolved once. Part of the SDK's edge, like ``loading``.

The SDK asks of every module that is loaded whether it lies in one of six folders, and resolves the module's path and
the folder's for each question: some ten thousand system calls a bundle, a tenth of a second for a small program and
three for one that has loaded thousands of modules. The answers are the same with the paths kept. It never changes what
is chosen, and where the SDK has no such question any more it does nothing.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["each_path_once"]

_QUESTION = "_file_is_in_directory"
_guard = threading.Lock()
_inside = 0
_asked: Any = None


@contextlib.contextmanager
def each_path_once() -> Iterator[None]:
    """While anybody is inside, files and folders are taken to stay where they are.

    The SDK chooses in a thread of its own, so that what stands for its question stands for all threads: the first who
    enters puts it there, with nothing kept yet, and the last who leaves takes it away.
    """
    global _inside, _asked
    from flyte._code_bundle import _utils

    with _guard:
        _inside += 1
        if _inside == 1 and (_asked := getattr(_utils, _QUESTION, None)) is not None:
            setattr(_utils, _QUESTION, _kept())
    try:
        yield
    finally:
        with _guard:
            _inside -= 1
            if _inside == 0 and _asked is not None:
                setattr(_utils, _QUESTION, _asked)


def _kept() -> Callable[[str, str], bool]:
    resolved = functools.cache(os.path.realpath)

    def is_in(file: str, directory: str) -> bool:
        try:
            path, folder = resolved(file), resolved(directory)
        except OSError:
            return False
        return path == folder or bool(path.startswith(os.path.join(folder, "")))

    return is_in
