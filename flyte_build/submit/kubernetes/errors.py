"""What cannot be a pod, and why."""

from __future__ import annotations

__all__ = ["FINAL", "Unplaceable"]

FINAL = 3
"""The exit code of a driver that would end the same way however often it is begun."""


class Unplaceable(ValueError):
    """What a task asks for, and no pod here can give. ``hint`` says what to change."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
