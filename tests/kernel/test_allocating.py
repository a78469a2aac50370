"""One arena for all threads, where glibc allocates and nobody said how."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# How many arenas there are once eight threads have allocated, each of them beside the others.
_ARENAS = """
import ctypes, re, sys, tempfile, threading
if sys.argv[1:]:
    from flyte_build.kernel.allocating import frugal
    frugal()
libc, all_there = ctypes.CDLL(None), threading.Barrier(8)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
def work():
    block = libc.malloc(1000)
    all_there.wait()
    libc.free(block)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
with tempfile.TemporaryFile() as f:
    libc.fdopen.restype, libc.malloc_info.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    libc.fflush.argtypes = (ctypes.c_void_p,)
    stream = libc.fdopen(f.fileno(), b"w")
    libc.malloc_info(0, stream)
    libc.fflush(stream)
    f.seek(0)
    print(len(re.findall(rb"<heap nr", f.read())))
"""


def arenas(*arguments: str, **variables: str) -> int:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", _ARENAS, *arguments], env=clean | variables, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="another C library")
def test_threads_share_an_arena() -> None:
    assert arenas() > 1
    assert arenas("frugal") == 1
    assert arenas("frugal", MALLOC_ARENA_MAX="4") > 1, "who says how it is to be is heard"
