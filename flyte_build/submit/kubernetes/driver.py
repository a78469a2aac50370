"""What runs in a driver's pod: a small process 1, and the driver, which it begins anew whenever that is gone.

The driver writes down what happens before anybody hears of it, so it may end at any instant, and is never asked to end
in order: it is killed. What it has to know is in its environment (where the storage is, and which run); the rest is in
the storage.

    python -m flyte_build.submit.kubernetes.driver
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from ...kernel.exiting import leave
from .errors import FINAL

__all__ = ["main"]

_ONCE = "--once"
# One that lives for so long (seconds) has done something: the next is begun at once again.
_LONG, _MOST_PAUSE = 20.0, 30.0


def main() -> int:
    if _ONCE not in sys.argv[1:]:
        return _keep()
    from .driven import drive_here

    return drive_here(_say)


def _keep() -> int:
    """Process 1: begin the driver, again and again, until it has come to an end."""
    pause = 0.2
    while True:
        began = time.monotonic()
        driver = subprocess.Popen([sys.executable, "-I", "-m", "flyte_build.submit.kubernetes.driver", _ONCE])

        def end(number: int, _: object, driver: subprocess.Popen[bytes] = driver) -> None:
            driver.kill()
            os._exit(128 + number)

        signal.signal(signal.SIGTERM, end)
        code = driver.wait()
        if code in (0, FINAL):
            return code
        if time.monotonic() - began > _LONG:
            pause = 0.2
        _say(f"the driver ended with {code}, and is begun anew in {pause:g} s")
        time.sleep(pause)
        pause = min(pause * 2, _MOST_PAUSE) if code > 0 else pause


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    leave(main())
