"""``lock``, ``plan``, ``build`` and ``push`` when nothing changed: the recorded answer, before click, rich or flyte are
imported.

Of a push the registry is asked first, whether it still has all that was pushed.
"""

from __future__ import annotations

import os
import sys

from ..workbench import recorded

__all__ = ["answered", "question"]

# What is asked for with these is done anew each time: a file is written, the network is asked, or
# somebody wants to see what is done.
_COMMANDS = ("lock", "plan", "build", "push")
_ALWAYS = ("--graph", "-v", "--verbose")


def question(arguments: list[str]) -> str:
    """The key of a command line (the program's name left out)."""
    return recorded.key_of(arguments[0] if arguments else "", arguments[1:])


def answered(arguments: list[str]) -> bool:
    """Whether ``arguments`` ask for what is on record and still true; then it has been printed."""
    if not arguments or arguments[0] not in _COMMANDS or any(a.startswith(_ALWAYS) for a in arguments):
        return False
    if arguments[0] == "plan" and "--check" in arguments:
        return False
    answer = recorded.load(question(arguments))
    if answer is None or not _confirmed(answer.get("again")):
        return False
    for path in answer.get("used", ()):  # images that are asked for are kept by `store gc`
        try:  # noqa: SIM105 - `contextlib` takes longer to import than all of this
            os.utime(path)
        except OSError:
            pass
    sys.stdout.write(answer["stdout"])
    sys.stdout.flush()
    return True


def _confirmed(asked: dict[str, object] | None) -> bool:
    """Whether registries, where any have to be asked, have what they had."""
    if asked is None:
        return True
    from ..workbench.pushed_before import still_there
    from .interrupts import watch

    watch()

    return still_there(asked)
