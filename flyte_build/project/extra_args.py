"""The words of an image layer's ``extra_args``, as a shell would part them. Knows of no tool what they mean to it."""

from __future__ import annotations

import shlex
from typing import Any

from ..kernel.errors import LoadError

__all__ = ["words_of"]


def words_of(layer: Any, where: str) -> list[str]:
    """None of a layer that has no ``extra_args``. Raises :class:`LoadError` for a text that no shell would take."""
    said = layer.extra_args or ""
    try:
        return shlex.split(said)
    except ValueError as e:
        raise LoadError(
            f"{where}: extra_args `{said}`: expected words as a shell has them, found: {e}",
            hint="end each quotation that begins, and write a quotation mark of a word as \\' or \\\"",
        ) from None
