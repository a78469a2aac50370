"""``plan`` when nothing changed: the recorded answer, before click, rich or flyte are imported."""

from __future__ import annotations

import sys

from ..planning import noop

__all__ = ["answered", "question"]

# What is asked for with these is done anew each time: a file is written, or the network is asked.
_ALWAYS = ("--graph", "--check")


def question(arguments: list[str]) -> str:
    """The key of a ``plan`` command line (the program's name left out)."""
    return noop.key_of("plan", arguments[1:])


def answered(arguments: list[str]) -> bool:
    """Whether ``arguments`` ask for a plan that is on record and still true; then it has been printed."""
    if arguments[:1] != ["plan"] or any(a.startswith(_ALWAYS) for a in arguments):
        return False
    answer = noop.load(question(arguments))
    if answer is None:
        return False
    sys.stdout.write(answer["stdout"])
    sys.stdout.flush()
    return True
