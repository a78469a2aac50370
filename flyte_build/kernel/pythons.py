"""Names of Pythons: ``"3.13"``, and ``"3.13t"`` for the free-threaded build of the same version (PEP 703)."""

from __future__ import annotations

__all__ = ["is_threaded", "numbers", "plain"]


def is_threaded(python: str) -> bool:
    """Whether this is a free-threaded build, which has an ABI and folders of its own."""
    return python.endswith("t")


def plain(python: str) -> str:
    """The version alone, as markers and specifiers have it."""
    return python.removesuffix("t")


def numbers(python: str) -> tuple[int, int]:
    """Its major and minor version."""
    major, _, minor = plain(python).partition(".")
    return int(major), int(minor)
