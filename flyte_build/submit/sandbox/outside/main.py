"""``[--owner UID GID PLACE] [--source PATH]... [--outlet HELPER SUBNET [--offers SOCKET]] -- COMMAND...``, in order.

``COMMAND`` (an engine's) replaces this process. It exits 125 with one line where something is refused.
"""

from __future__ import annotations

import os
import sys

# All before root is given up, and before a folder is covered: where they lie, nothing might be found afterwards.
from .outlet import attach, offer
from .owner import become, stage

__all__ = ["main"]


def main() -> None:
    words = sys.argv[1:]
    owner: tuple[int, int, str] | None = None
    outlet: tuple[str, str] | None = None
    offers: int | None = None
    sources: list[str] = []
    while (option := words.pop(0)) != "--":
        if option == "--owner":
            owner = (int(words.pop(0)), int(words.pop(0)), words.pop(0))
        elif option == "--source":
            sources.append(words.pop(0))
        elif option == "--offers":
            offers = int(words.pop(0))
        else:
            outlet = (words.pop(0), words.pop(0))
    try:
        if owner is not None:
            stage(*owner, sources)
            become(*owner[:2])
        if outlet is not None:
            attach(*outlet)
            if offers is not None:
                offer(*outlet, offers)
        os.execv(words[0], words)
    except OSError as e:
        sys.stderr.write(f"flyte-build: sandbox: {e.strerror or e}\n")
        sys.exit(125)
