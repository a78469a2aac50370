"""A project's modules are imported from their sources, never from bytecode that only looks as if it were theirs.

Python takes a ``.pyc`` for a source of the same size and the same mtime in whole seconds (PEP 552, timestamp-based).
Two edits within one second, a restored backup or a skewed clock are enough for an import to run code that is no
longer there; a plan must not. Nothing is written beside the user's sources either. Installed packages are left alone.
"""

from __future__ import annotations

import importlib.machinery as machinery
import os
import sys
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["import_from_source"]

_roots: set[str] = set()


class _SourceLoader(machinery.SourceFileLoader):
    """Compiles the source that is there, each time."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


_finder = machinery.FileFinder.path_hook(
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (_SourceLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)


def _owned(path: str) -> bool:
    real = os.path.realpath(path)
    return "site-packages" not in real and any(real == r or real.startswith(r + os.sep) for r in _roots)


def _hook(path: str) -> Any:
    if not _owned(path):
        raise ImportError("not a project's folder", path=path)
    return _finder(path)


def import_from_source(root: Path) -> None:
    """From now on, modules below ``root`` are imported from their sources."""
    _roots.add(os.path.realpath(root))
    if _hook not in sys.path_hooks:
        sys.path_hooks.insert(0, _hook)
    for path in [p for p in list(sys.path_importer_cache) if "site-packages" not in p and _owned(p)]:
        del sys.path_importer_cache[path]
