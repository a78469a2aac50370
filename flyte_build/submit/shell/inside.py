"""Runs in the sandbox, with the image's Python (3.8 or later, ``-I -S``): takes its streams, becomes the command.

Takes one argument, JSON: ``streams`` (the inherited files that become 0, 1 and 2), ``terminal`` (they are one, and
this session's), ``argv``. It imports nothing of ours.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import termios
from typing import NoReturn

MISSING, REFUSED = 127, 126


def which(name: str, path: str) -> str | None:
    """The program that ``name`` means, as a shell finds it."""
    if "/" in name:
        return name
    places = (os.path.join(folder or ".", name) for folder in path.split(":"))
    return next((p for p in places if os.access(p, os.X_OK) and not os.path.isdir(p)), None)


def fail(code: int, words: str) -> NoReturn:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    spec = json.loads(sys.argv[1])
    for number, stream in enumerate(spec["streams"]):
        os.dup2(stream, number)
    for stream in set(spec["streams"]):
        os.close(stream)
    if spec["terminal"]:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # Python ignores these, and a program that is started inherits that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    argv, path = spec["argv"], os.environ.get("PATH", os.defpath)
    program = which(argv[0], path)
    if program is None:
        fail(MISSING, f"{argv[0]}: not found in the image's PATH ({path})")
    try:
        os.execv(program, argv)
    except OSError as e:
        fail(MISSING if isinstance(e, FileNotFoundError) else REFUSED, f"{program}: {e.strerror}")


if __name__ == "__main__":
    main()
