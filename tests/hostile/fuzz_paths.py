"""Which lines of flyte_build ran: what tells the fuzzer that a case went where none went before.

From Python 3.12 on every case is seen (PEP 669: a line that was hit once costs nothing more). Before, tracing a line
is a call, so that only every eighth case is, and only in functions that still have a line which nobody saw.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Any

import flyte_build

__all__ = ["EVERY", "Paths", "lines"]

_ROOT = flyte_build.__path__[0]
_MONITORED = sys.version_info >= (3, 12)
EVERY = 1 if _MONITORED else 8
"""Of so many cases one is seen."""


class Paths:
    """What was seen: ``with paths:`` around a case, and ``new`` is how many lines it was the first to reach."""

    def __init__(self) -> None:
        self.new = self.all = 0
        self._left: dict[CodeType, set[int]] = {}
        self.found: set[tuple[str, int]] = set()
        self._tool: int | None = None
        if _MONITORED:
            self._monitor()

    def __enter__(self) -> Paths:
        self.new = 0
        if self._tool is None:
            sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        if self._tool is None:
            sys.settrace(None)
        self.all += self.new

    def close(self) -> None:
        if self._tool is not None:
            monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
            monitoring.set_events(self._tool, 0)
            monitoring.free_tool_id(self._tool)

    def _monitor(self) -> None:
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
        self._tool = tool = 4
        monitoring.use_tool_id(tool, "flyte-build fuzz")

        def line(code: CodeType, number: int) -> Any:
            if code.co_filename.startswith(_ROOT):
                self._see(code.co_filename, number)
            return monitoring.DISABLE

        monitoring.register_callback(tool, monitoring.events.LINE, line)
        monitoring.set_events(tool, monitoring.events.LINE)
        monitoring.restart_events()

    def _see(self, file: str, number: int) -> None:
        if (file, number) not in self.found:
            self.found.add((file, number))
            self.new += 1

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        left = self._left.get(code)
        if left is None:
            ours = code.co_filename.startswith(_ROOT)
            left = self._left[code] = {n for _, _, n in code.co_lines() if n} if ours else set()
        return self._line if left else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        left = self._left[frame.f_code]
        if event == "line" and frame.f_lineno in left:
            left.discard(frame.f_lineno)
            self._see(frame.f_code.co_filename, frame.f_lineno)
        return self._line


def lines(run: Any) -> set[tuple[str, int]]:
    """Every line that ``run()`` reaches, on any Python; what it raises is let through after that."""
    found: set[tuple[str, int]] = set()

    def line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            found.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    def call(frame: FrameType, event: str, _: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(_ROOT) else None

    sys.settrace(call)
    try:
        run()
    finally:
        sys.settrace(None)
    return found
