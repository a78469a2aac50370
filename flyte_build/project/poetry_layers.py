"""``with_poetry_project`` → steps with what its ``poetry.lock`` installs. Part of the SDK's edge, like ``images.py``.

What the SDK's builder runs is ``poetry install``, with ``--no-root`` unless the project itself is to be installed, and
the layer's arguments after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..recipe import PipInstall
from ..recipe.poetry import poetry_choice, poetry_requirements
from .extra_args import words_of

__all__ = ["brings_flyte", "read_poetry"]


def read_poetry(layer: Any, where: str, relative: Callable[[Path], str], found: Callable[[Any], Path]) -> PipInstall:
    """The step of a ``PoetryProject``; ``relative`` gives a path as recipes write it, ``found`` where one leads.

    Raises what reading a Poetry project raises.
    """
    words = words_of(layer, where)
    installs = layer.project_install_mode != "dependencies_only" and "--no-root" not in words
    choice = poetry_choice(words, where)
    parsed = poetry_requirements(found(layer.pyproject), found(layer.poetry_lock), choice, relative, installs=installs)
    return PipInstall(
        tuple(dict.fromkeys(parsed.requirements)),
        extra_indexes=tuple(parsed.extra_indexes),
        hashes=tuple(sorted(parsed.hashes.items())),
        sources=tuple(dict.fromkeys(parsed.sources)),
    )


def brings_flyte(
    layers: Iterable[Any], owner: str, relative: Callable[[Path], str], found: Callable[[Any], Path]
) -> bool:
    """Whether a ``poetry.lock`` has the flyte that the image gets, in place of the client's."""
    projects = (read_poetry(x, owner, relative, found) for x in layers if type(x).__name__ == "PoetryProject")
    return any(text.startswith("flyte==") for step in projects for text in step.requirements)
