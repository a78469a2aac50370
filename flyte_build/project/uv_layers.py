"""``with_uv_project`` and ``from_uv_script`` → steps that uv answers. Part of the SDK's edge, like ``images.py``.

What the SDK's builder runs is ``uv sync --active --inexact``, with ``--no-install-project`` unless the project itself
is to be installed, and the layer's arguments after it; so these are the options that uv is asked with.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ..kernel.errors import LoadError, RefusedError
from ..kernel.pythons import plain
from ..recipe import PipInstall
from ..recipe.requirements import parse_script
from ..recipe.uv_projects import UvFiles, read_uv_files, uv_options, uv_project
from .extra_args import words_of

_PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")

ASKING = ("UVProject", "UVScript")
"""The layers that say which Pythons they run on."""


__all__ = ["ASKING", "fitting_python", "read_project", "read_script"]


Found: TypeAlias = Callable[[Any], Path]
"""Where a path that the user wrote leads, absolute."""


def read_project(step: PipInstall, layer: Any, where: str, relative: Callable[[Path], str], found: Found) -> PipInstall:
    """``step`` (with the layer's indexes) of a ``UVProject``; ``relative`` gives a path as recipes write it.

    Raises :class:`LoadError` for files that cannot be read, :class:`RefusedError` for what is not locked.
    """
    pyproject = found(layer.pyproject)
    files = read_uv_files(pyproject, found(layer.uvlock) if layer.uvlock else None)
    options = uv_options(words_of(layer, where), where)
    if not isinstance(files.main.document.get("project"), dict) and "workspace" not in files.main.uv:
        raise LoadError(f"{pyproject}: expected a [project] table (PEP 621)")
    if layer.project_install_mode == "dependencies_only":
        options = (*(o for o in options if o != "--no-emit-project"), "--no-emit-project")
    elif _packaged(files):
        if files.lock is None:
            raise RefusedError(
                f"{where}(project_install_mode={layer.project_install_mode!r}) builds the project: it has no uv.lock",
                hint=f"run `uv lock` in {files.root}, and commit the uv.lock",
            )
        return _step(step, files, options, relative, installs=True)
    return _step(step, files, options, relative)


def read_script(step: PipInstall, layer: Any, relative: Callable[[Path], str], found: Found) -> PipInstall:
    """``step`` of a ``UVScript``: its dependencies, and uv's answer where the script or its lock tells uv more."""
    files = read_uv_files(found(layer.script))
    if files.main.uv or files.lock is not None:
        return _step(step, files, (), relative)
    parsed = parse_script(files.main.file, files.main.document, relative)
    return replace(step, requirements=tuple(dict.fromkeys(parsed.requirements)), sources=tuple(parsed.sources))


def fitting_python(layers: Iterable[Any], python: str, others: Sequence[str], owner: str, found: Found) -> str:
    """``python`` (``"3.11"``) where every uv project and script of ``layers`` allows it, else the first of ``others``
    that they all allow: those that the image may have instead, as nobody asked for that one.

    Raises :class:`LoadError` where there is none.
    """
    wanted: list[tuple[Path, str, SpecifierSet]] = []
    for layer in layers:
        kind = type(layer).__name__
        if kind not in ASKING:
            continue
        file = found(layer.pyproject if kind == "UVProject" else layer.script)
        for text in read_uv_files(file).requires_python:
            try:
                wanted.append((file, text, SpecifierSet(text)))
            except InvalidSpecifier:
                raise LoadError(
                    f"{file}: requires-python: `{text}` is not a version specifier",
                    hint=f"write `=={text}.*`, or `>={text}`" if re.fullmatch(r"3\.\d+", text) else None,
                ) from None

    def fits(version: str) -> bool:
        return all(any(held.contains(f"{plain(version)}.{patch}") for patch in range(100)) for _, _, held in wanted)

    for candidate in (python, *others):
        if fits(candidate):
            return candidate
    file, text, _ = next(one for one in wanted if not any(one[2].contains(f"{plain(python)}.{n}") for n in range(100)))
    would = next((version for version in _PYTHONS if fits(version)), None)
    raise LoadError(
        f"{owner}: {file.name} requires Python {text}, the image has {python}",
        hint=f"give the image a Python that fits: python_version=({would.replace('.', ', ')})"
        if would
        else "no Python that an image can have is allowed: change requires-python",
    )


def _packaged(files: UvFiles) -> bool:
    """Whether ``uv sync`` would build the project (uv documentation, "Build systems")."""
    package = files.main.uv.get("package")
    return bool(package) if package is not None else "build-system" in files.main.document


def _step(
    step: PipInstall,
    files: UvFiles,
    options: tuple[str, ...],
    relative: Callable[[Path], str],
    *,
    installs: bool = False,
) -> PipInstall:
    wheels = tuple(relative(wheel) for wheel in files.wheels if os.path.isfile(wheel))
    return replace(step, uv=uv_project(files, options, relative, installs=installs), wheels=wheels)
