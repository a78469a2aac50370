"""Byte ranges of files, cheap for the thousands of small neighbours that a wheel's members are.

A small read brings in its neighbourhood, so that the next one needs no system call. Never maps files: mapped
pages would count as memory, and a truncated file would be a signal instead of an error.
"""

from __future__ import annotations

import os

__all__ = ["Reader"]

_WINDOW = 64 << 10
_OPEN = 64


class Reader:
    """Positioned reads from many files; keeps at most 64 of them open."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._windows: dict[str, tuple[int, bytes]] = {}

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes at ``offset``; raises ``EOFError`` where the file ends before."""
        window = self._windows.get(path)
        if window is not None:
            start = offset - window[0]
            if start >= 0 and start + size <= len(window[1]):
                return window[1][start : start + size]
        descriptor = self._files.get(path)
        if descriptor is None:
            descriptor = self._open(path)
        if size < _WINDOW:
            data = os.pread(descriptor, _WINDOW, offset)
            self._windows[path] = (offset, data)
            if len(data) >= size:
                return data[:size]
        else:
            data = os.pread(descriptor, size, offset)
        parts = [data]
        got = len(data)
        while got < size:
            data = os.pread(descriptor, size - got, offset + got)
            if not data:
                raise EOFError(f"the file ends at byte {offset + got}, expected {offset + size} or more")
            parts.append(data)
            got += len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _open(self, path: str) -> int:
        if len(self._files) >= _OPEN:
            oldest = next(iter(self._files))
            os.close(self._files.pop(oldest))
            self._windows.pop(oldest, None)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._files[path] = descriptor
        return descriptor

    def close(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()
        self._windows.clear()
