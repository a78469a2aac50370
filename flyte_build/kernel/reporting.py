"""Progress and decisions go through one reporter; who renders it is not known here.

The CLI hands in a renderer (rich bars on a terminal, plain lines elsewhere); libraries and tests use
:class:`Silent` or :class:`Recorder`. Nothing below the CLI prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["Counted", "Hushed", "Logged", "Progress", "Recorder", "Reporter", "Silent"]


class Progress(Protocol):
    """One running piece of work with a known or unknown end."""

    def advance(self, amount: int = 1) -> None:
        """``amount`` more units are done (bytes or items, as the work was opened)."""

    def total(self, total: int) -> None:
        """The end is now known, in units."""


class Reporter(Protocol):
    """Where progress and decisions go. Safe to call from several threads."""

    def work(self, title: str, total: int | None = None, *, unit: str = "items") -> AbstractContextManager[Progress]:
        """Open a piece of work; ``unit`` is ``"bytes"`` or ``"items"``. Closed on exit."""

    def note(self, message: str) -> None:
        """A decision worth a line: "reused 12 layers"."""

    def warn(self, message: str) -> None:
        """Something the user should know and may act on; said once for equal messages."""


class _NoProgress:
    def advance(self, amount: int = 1) -> None:
        return None

    def total(self, total: int) -> None:
        return None


class Silent:
    """A reporter that says nothing."""

    @contextmanager
    def work(self, title: str, total: int | None = None, *, unit: str = "items") -> Iterator[Progress]:
        yield _NoProgress()

    def note(self, message: str) -> None:
        return None

    def warn(self, message: str) -> None:
        return None


class Hushed:
    """Another reporter's words, of which only notes and warnings are passed on once it is ``quiet``."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.quiet = False

    def work(self, title: str, total: int | None = None, *, unit: str = "items") -> AbstractContextManager[Progress]:
        return (Silent() if self.quiet else self._reporter).work(title, total, unit=unit)

    def note(self, message: str) -> None:
        self._reporter.note(message)

    def warn(self, message: str) -> None:
        self._reporter.warn(message)


class Counted(Hushed):
    """Another reporter's words, all of them; ``number`` is how many notes and warnings there were."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(reporter)
        self.number = 0

    def note(self, message: str) -> None:
        self.number += 1
        super().note(message)

    def warn(self, message: str) -> None:
        self.number += 1
        super().warn(message)


class Recorder(Silent):
    """A reporter for tests: keeps what was said."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []

    @contextmanager
    def work(self, title: str, total: int | None = None, *, unit: str = "items") -> Iterator[Progress]:
        self.titles.append(title)
        yield _NoProgress()

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


class Logged(Silent):
    """A reporter for programs that give none: notes and warnings go to the log ``flyte_build``.

    Python shows warnings of a log that nobody configured on standard error, and nothing else of it.
    """

    def __init__(self) -> None:
        import logging

        self._log = logging.getLogger("flyte_build")
        self._warned: set[str] = set()

    def note(self, message: str) -> None:
        self._log.info(message)

    def warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            self._log.warning(message)
