"""``.dockerignore`` patterns as Docker reads them. Pure: no I/O.

Not git's rules: a pattern is anchored at the root of what is copied, ``*`` stops at a slash, ``**`` does not, the
last pattern that matches decides, ``!`` takes back in, and what lies below a matching folder matches too
(Dockerfile reference, ".dockerignore file"; wildcards as Go's ``filepath.Match``).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from ..kernel.errors import InputError

__all__ = ["DockerIgnore"]


class DockerIgnore:
    """The patterns of one file, in order. Raises :class:`InputError` for one that Docker refuses."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for line in patterns:
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            back = text.startswith("!")
            cleaned = _clean(text[1:].strip() if back else text)
            if back and cleaned is None:
                raise InputError(f".dockerignore: `{line}` takes nothing back in")
            if cleaned is not None:
                self._rules.append((back, _compile(cleaned, line)))
        self._takes_back = any(back for back, _ in self._rules)

    def ignores(self, path: str) -> bool:
        """Whether ``path`` (relative, with ``/``) is left out."""
        parents = [path]
        while parent := posixpath.dirname(parents[-1]):
            parents.append(parent)
        ignored = False
        for back, pattern in self._rules:
            # A rule that would change nothing need not be tried.
            if back == ignored and any(pattern.fullmatch(p) for p in parents):
                ignored = not back
        return ignored

    def prunes(self, folder: str) -> bool:
        """Whether nothing below ``folder`` can be wanted, so that it need not be read."""
        return not self._takes_back and self.ignores(folder)


def _clean(pattern: str) -> str | None:
    """Go's ``filepath.Clean`` and no leading slash; ``None`` for what names nothing below the root."""
    if not pattern:
        return None
    cleaned = posixpath.normpath(pattern).lstrip("/")
    while cleaned.startswith("../"):
        cleaned = cleaned[3:]
    return None if cleaned in ("", ".", "..") else cleaned


def _compile(pattern: str, line: str) -> re.Pattern[str]:
    out: list[str] = []
    i = 0
    while i < len(pattern):
        c = pattern[i]
        i += 1
        if c == "*" and pattern.startswith("*", i):
            i += 1
            if pattern.startswith("/", i):
                i += 1
            out.append("(?:.*/)?" if i < len(pattern) else ".*")
        elif c == "*":
            out.append("[^/]*")
        elif c == "?":
            out.append("[^/]")
        elif c == "[":
            i, one = _class(pattern, i, line)
            out.append(one)
        elif c == "\\":
            if i == len(pattern):
                raise InputError(f".dockerignore: `{line}` ends in a lone backslash")
            out.append(re.escape(pattern[i]))
            i += 1
        else:
            out.append(re.escape(c))
    return re.compile("".join(out), re.DOTALL)


def _class(pattern: str, i: int, line: str) -> tuple[int, str]:
    """A character class from just behind its ``[``; where it ends, and the same as a regular expression."""
    negated = pattern.startswith("^", i)
    i += negated
    ranges: list[str] = []
    while not (ranges and pattern.startswith("]", i)):
        low, i = _member(pattern, i, line)
        high = low
        if pattern.startswith("-", i):
            high, i = _member(pattern, i + 1, line)
        if low > high:
            raise InputError(f".dockerignore: `{line}` has an empty range {low}-{high}")
        ranges.append(re.escape(low) if low == high else f"{re.escape(low)}-{re.escape(high)}")
    inside = "".join(ranges)
    return i + 1, f"(?!/)[^{inside}]" if negated else f"(?!/)[{inside}]"


def _member(pattern: str, i: int, line: str) -> tuple[str, int]:
    if pattern.startswith("\\", i):
        i += 1
    if i >= len(pattern):
        raise InputError(f".dockerignore: `{line}` has a `[` that is never closed")
    return pattern[i], i + 1
