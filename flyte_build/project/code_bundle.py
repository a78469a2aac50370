"""``with_code_bundle()`` → a step that copies the project's code. Part of the SDK's edge, like ``images.py``.

The SDK makes a layer of it only where a run ships no code of its own (copy style ``none``), and takes the modules that
happen to be loaded. Ours is there for every copy style, is the same whoever asks for it, and is read off the sources:
what the environment's files import of the project, wherever in them. Where a run ships its code it goes over this one.
No lock has it: what it copies changes with every edit, and nothing of it has to be resolved.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..kernel.errors import LoadError
from ..kernel.values import dataclass
from ..recipe import CopyFiles
from .layout import imported_files

__all__ = ["Code", "code_step"]

# What the SDK leaves out of a bundle, whatever is in it; and our own locks, whose pins say what the image became.
_LEFT_OUT = (
    *(".git", "**/__pycache__", "**/*.pyc", "**/.venv", "**/.idea", "**/.cache", "**/.ruff_cache", "**/.mypy_cache"),
    *("**/.pytest_cache", "venv", "env", ".env", "**/*.egg-info", "*.egg", "*.whl", "*.log", "dist", "build"),
    "lockfiles",
)


@dataclass(frozen=True, slots=True)
class Code:
    """``root``: what the code's paths in the image start from, as the runtime imports it. ``files``: what to start
    from, those that make the environment and its tasks; none where nobody knows, and all modules are taken."""

    root: Path
    files: Callable[[], Iterable[Path]]


def code_step(
    layer: Any, code: Code, owner: str, ignore: tuple[str, ...], relative: Callable[[Path], str]
) -> CopyFiles:
    """The step of a ``CodeBundleLayer``; ``relative`` gives a path as recipes write it. Raises :class:`LoadError`."""
    root = (Path(layer.root_dir) if layer.root_dir is not None else code.root).absolute()
    step = CopyFiles(relative(root), str(layer.dst), True, (*_LEFT_OUT, *ignore), code=True)
    if layer.copy_style == "all":
        return step
    files = _modules(root, code.files())
    if not files:
        raise LoadError(
            f"{owner}: with_code_bundle: no file of the environment is below {root}, where the code's paths start",
            hint='name the folder above them (`--root`, `--root-dir`, `flyte.init(root_dir=…)`), or copy_style="all"',
        )
    names = sorted(os.path.relpath(file, root) for file in files)
    return CopyFiles(step.source, step.destination, True, files=tuple(names), code=True)


def _modules(root: Path, start: Iterable[Path]) -> list[Path]:
    own = [file for file in start if file.is_relative_to(root)]
    if own:
        return imported_files(own, root)
    skipped = {"venv", "env", "dist", "build", "__pycache__", "site-packages"}
    return [
        path
        for path in root.rglob("*.py")
        if not any(p in skipped or p.startswith(".") for p in path.relative_to(root).parts[:-1])
    ]
