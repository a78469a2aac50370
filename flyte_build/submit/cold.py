"""A cold action's ``a0``: its image's own script, told to look for no garbage until the task is loaded.

The runtime imports some 900 modules, next to nothing of which is garbage; what the collector looks at meanwhile, and
what it takes apart when the interpreter ends, is a quarter of all that a start takes. So at the script's own place its
sandbox shows a copy with one more expression, which switches the collector off. Our ``resolver`` switches it on again
before it loads the task's module, and has it leave alone what is there by then (``gc.freeze``), as a fork's does; at
the very end, too, unless anything that came since would notice (see there). The command line, ``__main__``, the search
path, flags and numbers of lines are those of the stock start. A script that is none of those that installers write for
the runtime is started as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..kernel.values import replace
from . import door
from .berth import Berth
from .outputs import View
from .resolving import RESOLVER
from .sandbox.spec import Mount, Sandbox
from .warm.told import NEVER

__all__ = ["collecting_late", "late"]

SCRIPT = "a0"
LARGEST = 16 << 10
_FIRST = re.compile(rb"^import (?:re|sys)$(?=(?s:.*)^from flyte\._bin\.runtime import main$)", re.MULTILINE)
# Without a name of its own, for `__main__` has none either; programs of the task may call `a0` for something else.
_LATE = (
    f"""(lambda gc, sys, end, last: "{RESOLVER}" in sys.argv and gc.isenabled() and """
    """(gc.disable(), setattr(sys, "_flyte_build_late", last), end.register(lambda: [call() for call in last])))"""
    """(*map(__import__, ("gc", "sys", "atexit")), []); """
)


def late(script: bytes) -> bytes | None:
    """The script that does so, in as many lines; ``None`` for one that is not an installer's."""
    first = _FIRST.search(script)
    if first is None or not script.startswith(b"#!"):
        return None
    return script[: first.start()] + _LATE.encode() + script[first.start() :]


def collecting_late(berth: Berth, root: Path, scratch: Path) -> None:
    """Let ``berth``, over the image's ``root``, start that script, written to ``scratch``, where it starts the stock
    one with our resolver. Blocks."""
    # A pickled task is asked of no resolver.
    ours = RESOLVER in berth.argv and "--pkl" not in berth.argv and not any(name in berth.env for name in NEVER)
    if berth.argv[:1] != (SCRIPT,) or not ours:
        return
    with suppress(OSError):
        found = _found(berth.box, root, berth.env)
        changed = late(found[1]) if found is not None else None
        if found is not None and changed is not None:
            own = scratch / SCRIPT
            own.write_bytes(changed)
            own.chmod(0o755)
            berth.box = replace(berth.box, mounts=(*berth.box.mounts, Mount(own, found[0])))


def _found(box: Sandbox, root: Path, env: Mapping[str, str]) -> tuple[str, bytes] | None:
    """Where process 1 will find the script (see ``sandbox/init``), with no link on the way, and what is in it.

    ``None`` where that cannot be told from here, or something in memory lies over it.
    """
    view = View({"/": root} | {mount.target: mount.source for mount in box.mounts})
    for folder in env.get("PATH", os.defpath).split(":"):
        parts = view.resolved(f"{folder}/{SCRIPT}") if folder.startswith("/") else None
        name = f"/{'/'.join(parts)}" if parts else ""
        if not name or any(name.startswith(f"{tmpfs.target}/") for tmpfs in (*box.tmpfs, *box.late)):
            return None
        place = view.locate(name)
        if place is None:
            continue
        with suppress(FileNotFoundError), door.folder(place.top) as top, door.open_file(top, place.below) as handle:
            if os.fstat(handle).st_mode & 0o111:
                return name, door.read(top, place.below, LARGEST)
    return None
