"""flyte-build as on another machine: what steps run sees another clock, other ids, one processor.

It goes before the command, ``python -P elsewhen.py CLOCK.so python -m flyte_build …``. The file system is that of the
caller's cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

AHEAD = 34_567_890
"""Seconds by which the clock is ahead: another year, month and day, and another time of the day."""
FIRST = 3_000_000
"""Which id of the machine is root's."""

_AT = "/run/clock.so"
_SOURCE = """\
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *at)
{
    int gone = (int)syscall(SYS_clock_gettime, id, at);
    if (gone == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        at->tv_sec += AHEAD;
    return gone;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *at, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"""


def clock(folder: Path) -> Path:
    """A library that is ahead, for LD_PRELOAD, made in ``folder`` by the native core's compiler."""
    source, made = folder / "clock.c", folder / "clock.so"
    source.write_text(_SOURCE)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-gnu.2.28", "-O2", "-shared", "-fPIC"]
    subprocess.run([*command, f"-DAHEAD={AHEAD}", "-o", made, source], check=True, env={**os.environ, "HOME": folder})
    return made


def main(library: Path, arguments: list[str]) -> None:
    """Run the command line ``arguments`` (without the program's name) of flyte-build."""
    from flyte_build.cli import entry
    from flyte_build.sealing import ids, sealing

    environment_of, files_of, held = sealing.environment_of, sealing.files_of, library.read_bytes().hex()
    sealing.environment_of = lambda *of: {**environment_of(*of), "LD_PRELOAD": _AT}
    sealing.files_of = lambda *of: [*files_of(*of), (_AT, 0o755, held, 0, 0)]
    ids._FIRST = FIRST
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sys.argv = ["flyte-build", *arguments]
    entry()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[5:])
