"""Who hears of a run while it runs. The CLI draws a tree from it; nothing here prints."""

from __future__ import annotations

from typing import Protocol

from .journal import ActionRecord

__all__ = ["Collector", "Observer"]


class Observer(Protocol):
    """Called from the run's event loop, so its methods return at once."""

    def on_action(self, record: ActionRecord) -> None:
        """An action is new or has changed. A record says everything: name, parent, group, phase, attempt, times."""

    def on_line(self, action: str, attempt: int, line: str) -> None:
        """How an attempt looks from outside, where that is known: what a pod waits for, and where it runs."""

    def warn(self, message: str) -> None:
        """Something the user should know, said once: a limit that cannot be kept on this machine."""


class Collector:
    """Keeps what it hears: for tests and for callers that only want the end."""

    def __init__(self) -> None:
        self.records: list[ActionRecord] = []
        self.warnings: list[str] = []
        self.lines: list[tuple[str, int, str]] = []

    def on_action(self, record: ActionRecord) -> None:
        self.records.append(record)

    def on_line(self, action: str, attempt: int, line: str) -> None:
        self.lines.append((action, attempt, line))

    def warn(self, message: str) -> None:
        self.warnings.append(message)
