"""Where a task's error was raised: the runtime reports its type and message, and only prints the rest.

Reads logs; never decides whether an action failed (see ``verdict``).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["last_traceback"]

# An endless log is read from its end only.
TAIL_BYTES = 1 << 20
_HEADER = "Traceback (most recent call last):"
_FRAME = re.compile(r'  File "(?P<path>[^"]+)", line \d+')
# Frames of the SDK around the task's own say nothing about it.
_RUNTIME = "/site-packages/flyte/"


def last_traceback(log: Path) -> str | None:
    """The last traceback in ``log`` down to the exception's first line, without the frames of the SDK.

    ``None`` where there is none, or the file cannot be read.
    """
    try:
        with log.open("rb") as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - TAIL_BYTES))
            lines = f.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    starts = [i for i, line in enumerate(lines) if line == _HEADER]
    if not starts:
        return None
    frames: list[list[str]] = []
    for line in lines[starts[-1] + 1 :]:
        if _FRAME.match(line):
            frames.append([line])
        elif line.startswith("  ") and frames:
            frames[-1].append(line)
        elif frames:
            own = [frame for frame in frames if _RUNTIME not in frame[0]]
            return "\n".join([_HEADER, *(text for frame in own or frames for text in frame), line])
        else:
            return None
    return None
