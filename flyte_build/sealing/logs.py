"""What a step's programs say, in a file for people; secrets are struck out before anything is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO

__all__ = ["StepLog"]

_STRUCK = b"[secret]"
_TAIL = 12
_SHORTEST = 4


class StepLog:
    """The log at ``path``, which is begun anew. ``secrets`` are values that never get into it."""

    def __init__(self, path: Path, secrets: Iterable[bytes] = ()) -> None:
        self.path = path
        self._secrets = sorted({s for s in secrets if len(s) >= _SHORTEST}, key=len, reverse=True)
        self._keep = max(map(len, self._secrets), default=1) - 1
        self._held = b""
        self._recent = b""
        self._file: IO[bytes] | None = None

    def __enter__(self) -> StepLog:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._flush(0)
        assert self._file is not None
        self._file.close()

    def write(self, data: bytes) -> None:
        """What a program said. A piece that could begin a secret waits for what follows it."""
        self._held += data
        for secret in self._secrets:
            self._held = self._held.replace(secret, _STRUCK)
        self._flush(self._keep)

    def line(self, text: str) -> None:
        """A line of ours."""
        self._flush(0)
        self._put(f"== {text}\n".encode())

    def tail(self) -> str:
        """The last lines, for a message."""
        self._flush(0)
        lines = self._recent.decode("utf-8", "replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith("== "))[-4000:].strip()

    def _flush(self, keep: int) -> None:
        ready = len(self._held) - keep
        if ready > 0:
            self._put(self._held[:ready])
            self._held = self._held[ready:]

    def _put(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)
        self._file.flush()
        self._recent = b"\n".join((self._recent + data).split(b"\n")[-_TAIL:])
