"""The end of a process of ours: in order, and without taking the interpreter apart.

Before Python 3.14 a thread that asks for the interpreter's lock while it is taken apart is ended by ``pthread_exit``.
Where that thread is a native library's (obstore's, which hands an answer to the event loop: what it answered may be the
last that the program waited for) this unwinds through frames that may not be unwound, and the process aborts: it has
done all that it should, and ends with signal 6 and no word (https://github.com/PyO3/pyo3/pull/4874 has the story).
So all that has to happen at an end happens here, and then the process ends. It also is sooner gone.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` takes longer to import than a recorded answer takes to be found
    from typing import NoReturn

__all__ = ["leave"]


def leave(code: int) -> NoReturn:
    """End this process with ``code`` (0 to 255): threads that are no daemons are waited for, ``atexit``'s functions
    run, standard output and error are flushed. Where somebody measures this process (a profiler, a debugger,
    coverage), by ``SystemExit``."""
    if sys.getprofile() is not None or sys.gettrace() is not None:
        raise SystemExit(code)
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 - `contextlib` takes longer to import than all of this
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    os._exit(code)
