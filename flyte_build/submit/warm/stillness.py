"""What would not survive a fork, or be shared by two: found after the imports, stopped, or named.

Runs with the image's Python (3.8 or later), standard library only. No name of Flyte's is used: what its runtime starts
when it is imported (one thread with an event loop) is stopped and started again like anybody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib
import inspect
import io
import os
import random
import re
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

PATIENCE = 2.0  # seconds


class NotForkable(Exception):
    """The imports left something that a fork would lack, or share."""


def open_files() -> set[int]:
    """The descriptors of this process, without the one that reading them takes."""
    return {n for n in map(int, os.listdir("/proc/self/fd")) if os.path.lexists(f"/proc/self/fd/{n}")}


def _opened(had: set[int]) -> list[str]:
    """What is open and was not."""
    found = []
    for number in sorted(open_files() - had):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return found


def _foreign_threads() -> int:
    """Threads besides this one, but for those of jemalloc, which starts its own again."""
    names = []
    for number in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{number}/comm") as f:
            names.append(f.read())
    return len([name for name in names if name != "jemalloc_bg_thd\n"]) - 1


def _shared_memory() -> list[str]:
    """What is mapped so that a fork and this process would write to the same bytes (proc_pid_maps(5))."""
    with open("/proc/self/maps") as f:
        rows = [line.split(None, 5) for line in f]
    return [row[5].strip() if len(row) > 5 else "memory" for row in rows if "w" in row[1] and row[1][3] == "s"]


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage meanwhile: imports leave next to none, and the looks are a fifth of what they take."""
    own = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if own:
            gc.enable()


class Still:
    """The threads and event loops that imports started, stopped; ``stir`` starts them again, each as itself.

    ``had`` are the descriptors from before the imports. ``collect``: garbage is collected, which takes as long as all
    else here. Raises :class:`NotForkable`.
    """

    def __init__(self, had: set[int], collect: bool = True) -> None:
        gc.unfreeze()  # what is frozen is not listed
        threads = [t for t in threading.enumerate() if t is not threading.main_thread()]
        self._threads = [(t, {k: getattr(t, f"_{k}") for k in ("target", "args", "kwargs", "name")}) for t in threads]
        # By type(): isinstance() wakes lazy module proxies, which then import numpy and pyarrow.
        self._loops = [o for o in gc.get_objects() if issubclass(type(o), asyncio.BaseEventLoop) and not o.is_closed()]
        for loop in self._loops:
            if asyncio.all_tasks(loop):
                raise NotForkable("an import left tasks in an event loop")
            loop.call_soon_threadsafe(loop.stop)
        for thread in threads:
            thread.join(PATIENCE)
            if thread.is_alive():
                raise NotForkable(f"an import left the thread {thread.name} running")
        for loop in self._loops:
            loop.close()  # forks would share its epoll instance and its wake-up pipe
        self._look(had)
        if collect:
            gc.collect()
        gc.freeze()  # a fork's collector leaves these objects, and so their pages, alone

    def _look(self, had: set[int]) -> None:
        # Libraries that know about forks (OpenBLAS) end their threads before one; OpenMP's stay, and a fork would hang.
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        deadline = time.monotonic() + PATIENCE  # a joined thread is the kernel's for a moment longer
        while _foreign_threads():
            if time.monotonic() > deadline:
                raise NotForkable(f"the imports left {_foreign_threads()} threads that are not Python's")
            time.sleep(0.01)
        if _opened(had):
            gc.collect()  # what holds it may be garbage
        if opened := _opened(had):
            raise NotForkable(f"the imports left open: {', '.join(opened)}")
        if shared := _shared_memory():
            raise NotForkable(f"the imports share memory with their forks: {', '.join(shared)}")

    def stir(self) -> None:
        """In a fork: start again what was stopped."""
        for loop in self._loops:
            type(loop).__init__(loop)
        for thread, made in self._threads:
            threading.Thread.__init__(thread, daemon=True, **made)
            thread.start()


class Contexts:
    """TLS contexts made before the fork: each parses 140 authorities in 20 ms, and the runtime makes two an action.

    Each is given once in a fork, to a call with the very arguments that it was made with.
    """

    def __init__(self) -> None:
        self._original = ssl.create_default_context
        self.calls: list[dict[str, Any]] = []
        self._made: list[tuple[dict[str, Any], ssl.SSLContext]] = []

    def record(self) -> None:
        """From now on, remember which are made."""

        def recording(*args: Any, **kwargs: Any) -> ssl.SSLContext:
            if not args and set(kwargs) == {"cafile"} and isinstance(kwargs["cafile"], str):
                self.calls.append(kwargs)
            return self._original(*args, **kwargs)

        ssl.create_default_context = recording

    def make(self, calls: list[dict[str, Any]]) -> None:
        """Make those, as far as they can be made."""
        for call in calls:
            with contextlib.suppress(OSError):
                self._made.append((call, self._original(**call)))

    def hand_out(self) -> None:
        """In a fork: give them to who asks for them; who asks for another gets a new one."""
        made, original = list(self._made), self._original

        def create_default_context(*args: Any, **kwargs: Any) -> ssl.SSLContext:
            for number, (call, context) in enumerate(made):
                if not args and call == kwargs:
                    del made[number]
                    if not made:
                        ssl.create_default_context = original
                    return context
            return original(*args, **kwargs)

        if made:
            ssl.create_default_context = create_default_context


class Transports:
    """The runtime's HTTP clients: it makes two an action, and each reads all authorities of the image in 6 ms.

    They speak to the actions service, without TLS. So the first of a fork, as many as a rehearsal made, are made
    without; whoever makes one after them, or asks for anything else, gets what it asks for.
    """

    def __init__(self) -> None:
        self.count = 0

    def record(self) -> None:
        """From now on, count."""
        self._wrap(lambda kwargs: kwargs)

    def lighten(self, count: int, env: Any) -> None:
        """In a fork that is to have the variables ``env``."""
        if count and env.get("_U_INSECURE") == "true" and env.get("_U_EP_OVERRIDE", "").startswith("http://"):
            self._wrap(lambda kwargs: {**kwargs, "tls_include_system_certs": False}, count)

    def _wrap(self, change: Any, most: int = -1) -> None:
        module: Any = sys.modules.get("pyqwest")
        original = getattr(module, "HTTPTransport", None)
        if module is None or original is None:
            return

        @functools.wraps(original)
        def transport(*args: Any, **kwargs: Any) -> Any:
            if not args and kwargs.get("tls_include_system_certs") is True and kwargs.get("tls_ca_cert") is None:
                self.count += 1
                if self.count == most:
                    module.HTTPTransport = original
                return original(**change(kwargs))
            return original(*args, **kwargs)

        module.HTTPTransport = transport


# Functions of the runtime that say something of the image alone, and keep it: which entry points its packages have (a
# file a package, some 10 ms), and whether a library takes an argument.
_KEPT = (
    ("flyte._utils.entry_points", "_installed_entry_points"),
    ("flyte.remote._client.auth._session", "_supports_system_certs"),
)


def recall(imported: Sequence[str] = ()) -> None:
    """Call those, so that a fork need not; and use data frames, where what handles them was ``imported``."""
    for module, name in _KEPT:
        function: Any = getattr(sys.modules.get(module), name, None)
        if hasattr(function, "cache_info"):
            with contextlib.suppress(Exception):
                function()
    with contextlib.suppress(ImportError, AttributeError):
        _read_once(importlib.import_module("flyte._cache.policy_function_body").FunctionBodyPolicy)
    if {"pandas", "pyarrow.parquet"} <= set(imported):
        with contextlib.suppress(Exception):
            _use_frames(*(importlib.import_module(name) for name in ("pandas", "pyarrow.parquet")))


def _read_once(policy: Any) -> None:
    """A call's version is the hash of its task's source, which the runtime finds, reads and parses anew for each call:
    a tenth of what a parent of many does. Here it is found once for each function."""
    original = policy.get_version
    found: dict[Any, str] = {}

    @functools.wraps(original)
    def get_version(self: Any, salt: str, params: Any) -> Any:
        function = params.func
        own = inspect.unwrap(function) if inspect.isfunction(function) else None
        if not inspect.isfunction(own) or type(self) is not policy:
            return original(self, salt, params)
        key = function, own, own.__code__, salt
        if key not in found:
            found[key] = original(self, salt, params)
        return found[key]

    policy.get_version = get_version


def _use_frames(pandas: Any, parquet: Any) -> None:
    """Write a tiny table into memory and read it again, by calls that start no thread and draw no number. What the
    libraries find out at their first use (symbols, functions, formats) takes 5 ms here, and more in each fork."""
    frame = pandas.DataFrame({"a": range(2), "b": ["x", "y"], "c": [0.5, 1.5]})
    frame = frame.assign(d=frame.a + frame.c)
    written = io.BytesIO()
    frame.to_parquet(written, coerce_timestamps="us", allow_truncated_timestamps=False)
    parquet.ParquetFile(written, pre_buffer=False).read(use_threads=False).to_pandas(use_threads=False)


def patterns() -> list[tuple[str, int]]:
    """The regular expressions that ``re`` keeps compiled, each with its flags; a version that keeps them elsewhere has
    none."""
    kept = getattr(re, "_cache", {})
    return [(key[1], int(key[2])) for key in kept if len(key) == 3 and key[0] is str]


def compiled(found: list[tuple[str, int]]) -> None:
    """Let ``re`` keep those."""
    for pattern, flags in found:
        with contextlib.suppress(re.error):
            re.compile(pattern, flags)


def reseed() -> None:
    """Numbers that no other fork draws. Python's own generator is seeded anew by every fork already."""
    random.seed()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None and hasattr(numpy, "seed"):
        numpy.seed()
