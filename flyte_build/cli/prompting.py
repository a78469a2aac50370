"""Asks who sits at the terminal what a run's conditions wait for, one after the other, while the run goes on.

A thread of its own reads lines of standard input, so Ctrl-C stays what it is: an interrupt of the run. A condition that
somebody else answers (`flyte-build signal`), or whose time is over, is not asked any longer. Nothing is read while this
process is not the terminal's, and what was typed before a question is no answer to it.
"""

from __future__ import annotations

import os
import select
import termios
import threading
from collections.abc import Callable
from contextlib import suppress

from rich.markup import escape

from ..kernel.errors import FlyteBuildError
from ..submit.action import Phase
from ..submit.journal import ActionRecord
from .console import interactive, stderr

__all__ = ["Prompter", "can_ask"]

_LOOK_SECONDS = 0.1
_KINDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a text"}


def can_ask() -> bool:
    """Whether somebody sits at standard input and sees what is asked."""
    with suppress(OSError):
        return os.isatty(0) and interactive(stderr())
    return False


class Prompter:
    """``answer`` takes the name of a condition's action and what was typed, and raises :class:`FlyteBuildError` for
    what is no answer; ``hold`` makes room on the terminal, ``go_on`` ends that. Lines are read from ``file``."""

    def __init__(
        self,
        answer: Callable[[str, str], object],
        hold: Callable[[], object] = lambda: None,
        go_on: Callable[[], object] = lambda: None,
        file: int = 0,
    ) -> None:
        self._answer, self._hold, self._go_on, self._file = answer, hold, go_on, file
        self._waiting: dict[str, ActionRecord] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._over = False

    def hear(self, record: ActionRecord) -> None:
        """An action has changed. Returns at once."""
        if record.kind != "condition":
            return
        with self._changed:
            if record.phase is not Phase.PAUSED:
                self._waiting.pop(record.name, None)
            elif not self._over:
                self._waiting[record.name] = record
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="prompt", daemon=True)
                    self._thread.start()
            self._changed.notify_all()

    def stop(self) -> None:
        """Ask nothing any more."""
        with self._changed:
            self._over = True
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(10 * _LOOK_SECONDS)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._over:
                    self._changed.wait()
                if self._over:
                    return
                record = next(iter(self._waiting.values()))
            self._hold()
            try:
                again = self._ask(record)
            finally:
                self._go_on()
            if not again:
                return

    def _there(self, record: ActionRecord) -> bool:
        with self._changed:
            return record.name in self._waiting

    def _ask(self, record: ActionRecord) -> bool:
        """Until it is answered; whether others may be asked for."""
        out = stderr()
        kind = f" ({_KINDS[record.asks]})" if record.asks in _KINDS else ""
        with suppress(termios.error):
            termios.tcflush(self._file, termios.TCIFLUSH)
        while True:
            said = f"  {escape(record.prompt)}" if record.prompt else ""
            out.print(f"[yellow]?[/] [bold]{escape(record.task)}[/]{said}[dim]{kind}[/] ", end="", soft_wrap=True)
            line = self._line(record)
            if line is None:
                out.print("\n[dim]not asked any longer[/]")
                return True
            if not line:
                out.print(f"\n[dim]`flyte-build signal RUN {escape(record.task)} VALUE` answers it from elsewhere[/]")
                return False
            try:
                if text := line.strip():
                    self._answer(record.name, text)
                    with self._changed:
                        self._waiting.pop(record.name, None)
                    return True
            except FlyteBuildError as e:
                if not self._there(record):
                    return True
                out.print(f"[red]{escape(e.message)}[/]", soft_wrap=True)

    def _line(self, record: ActionRecord) -> str | None:
        """What was typed, with its end; empty at the end of input, ``None`` once it is not asked any longer."""
        data = b""
        while not data.endswith(b"\n"):
            if not self._there(record):
                return None
            if not self._ours() or not select.select([self._file], [], [], _LOOK_SECONDS)[0]:
                if not self._ours():
                    threading.Event().wait(_LOOK_SECONDS)
                continue
            try:
                more = os.read(self._file, 4096)
            except OSError:
                more = b""
            if not more:
                return ""
            data += more
        return data.decode(errors="replace")

    def _ours(self) -> bool:
        """Whether this process may read the terminal: in the background it would be stopped for it."""
        try:
            return os.tcgetpgrp(self._file) == os.getpgrp()
        except OSError:
            return True  # no terminal of this session: a pipe, a test's
