"""Hints as commands that can be pasted: what they name works on the file that the failed command named.

Whoever finds a lock stale knows no command line; `flyte-build lock` alone is the way out only where the settings name
a file. Changes words, never what they mean.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

__all__ = ["aimed", "pointed"]

_BARE = re.compile(r"`(flyte-build (?:lock|plan|build|push|verify|outdated)(?: [^`]*)?)`")
_OPTIONS = re.compile(r"(?: --?[a-z][\w-]*(?:[ =](?!-)[^\s`]+)?)*")


def aimed(hint: str, target: str) -> str:
    """``hint`` with ``target`` wherever its commands say TARGET."""
    return re.sub(r"`[^`]*`", lambda found: re.sub(r"\bTARGET\b", lambda _: shlex.quote(target), found[0]), hint)


def pointed(hint: str, file: Path) -> str:
    """``hint`` with ``file`` behind each command that takes one and has none."""
    if file.suffix != ".py":
        return hint

    def told(found: re.Match[str]) -> str:
        line = found[1]
        rest = line.split(" ", 2)[2:]
        options = f" {rest[0]}" if rest else ""
        named = any(word.endswith(".py") or word == "FILE" for word in options.split())
        if named or not _OPTIONS.fullmatch(options):
            return found[0]
        return f"`{line} {shlex.quote(str(file))}`"

    return _BARE.sub(told, hint)
