"""A process ends in order, with its code, also where a native library's thread is about to ask for the interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

IN_ORDER = """
import atexit, sys, threading, time
from flyte_build.kernel.exiting import leave
atexit.register(print, "second")
def work():
    time.sleep(0.2)
    print("first")
threading.Thread(target=work).start()
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("at once")
leave(7)
"""

# obstore's thread hands its answer to the loop, and is kept from the interpreter's lock until that is taken apart,
# which takes a while. Python before 3.14 then ends the thread, and by that the process: with signal 6 and no word.
LATE = """
import asyncio, sys, time
import obstore
from obstore.store import from_url
from flyte_build.kernel.exiting import leave

class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(0.5)

slowly = Slow()
loops = asyncio.selector_events.BaseSelectorEventLoop
wake = loops._write_to_self

def wake_slowly(self):
    wake(self)
    time.sleep(0.05)

loops._write_to_self = wake_slowly

async def main():
    await obstore.list_with_delimiter_async(from_url("file://" + sys.argv[1]))

asyncio.run(main())
print("done")
leave(3)
"""

MEASURED = """
import sys
from flyte_build.kernel.exiting import leave
sys.setprofile(lambda *_: None)
try:
    leave(4)
finally:
    print("what measures has its say")
"""


def run(text: str, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", text, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_threads_are_waited_for_and_all_is_said() -> None:
    assert run(IN_ORDER) == (7, "at once\nfirst\nsecond\n", "")


def test_a_thread_that_comes_late_is_no_crash(tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    assert run(LATE, str(tmp_path)) == (3, "done\n", "")


def test_what_measures_the_process_has_its_say() -> None:
    assert run(MEASURED) == (4, "what measures has its say\n", "")
