"""Which assembler works here, in words: the native core, or Python's and why. Never chooses one."""

from __future__ import annotations

from ..native import core

__all__ = ["assembler"]


def assembler() -> str:
    """``native core``, or ``pure Python: WHY``; raises ``InputError`` for a bad ``$FLYTE_BUILD_CORE``."""
    return str(core())
