"""Python packages: what the environments of a project require → the wheels of each.

A resolver (``uv``, ``pip_tools``) answers one question at a time: versions for a set of requirements on
one target. Everything else is common to both, so that both give the same lock: which environments are
solved together (``universe``), which wheel of a version is taken (``..wheels``), which environment and
which step needs it (``closure``).
"""

from __future__ import annotations

from ...kernel.errors import InputError
from .question import NoSolution, Pin, Question, Resolver
from .universe import Universe, Wanted, solve_universe

__all__ = ["NoSolution", "Pin", "Question", "Resolver", "Universe", "Wanted", "named", "solve_universe"]


def named(name: str) -> Resolver:
    """The resolver called ``uv`` or ``pip-tools``; raises :class:`RefusedError` where it is not installed."""
    if name == "uv":
        from .uv import Uv

        return Uv.installed()
    if name == "pip-tools":
        from .pip_tools import PipTools

        return PipTools.installed()
    raise InputError(f"unknown resolver `{name}`: expected uv or pip-tools")
