"""Nothing of one action is seen by the next that is forked of the same worker: it finds what a cold process finds."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.submit.action import ImageRoot
from flyte_build.submit.sandbox import process
from flyte_build.submit.sandbox.engines import available
from flyte_build.submit.sandbox.entrance import Entrance
from flyte_build.submit.sandbox.namespaces import Unshare
from flyte_build.submit.sandbox.spec import Mount, Network
from tests.support.sandboxes import begin, box_of, worker

pytestmark = pytest.mark.integration

# What a task finds: as much as a process can say of itself.
LOOK = """
import builtins, gc, json, locale, os, resource, signal, socket, sys, threading, warnings
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
def folder(path):
    try:
        return sorted(os.listdir(path))
    except OSError as e:
        return e.strerror
PLACES = ("/", "/tmp", "/home/flyte", "/dev", "/dev/pts", "/dev/shm", "/run", "/run/flyte-build")
umask = os.umask(0)
os.umask(umask)
mounts = [line.split() for line in open("/proc/self/mountinfo")]
print(json.dumps({
    "env": dict(os.environ), "cwd": os.getcwd(), "umask": umask, "argv": sys.argv[:1], "path": sys.path,
    "flags": str(sys.flags), "executable": sys.executable, "prefix": sys.prefix, "name": __name__,
    "main": sorted({*vars(sys.modules["__main__"])} - {"__annotations__"}),
    "builtins": sorted(vars(builtins)), "modules": "leak" in sys.modules,
    "files": [n for n in folder("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{n}")],
    "handlers": {int(n): str(signal.getsignal(n)).split(" at ")[0] for n in signal.valid_signals()},
    "signals": [status[n] for n in ("SigBlk", "SigIgn", "SigCgt")],
    "ids": [status[n] for n in ("Uid", "Gid", "Groups")],
    "rights": [status[n] for n in ("CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp")],
    "threads": [t.name for t in threading.enumerate()], "tasks": len(folder("/proc/self/task")),
    "limits": [resource.getrlimit(n) for n in range(16)], "nice": os.nice(0), "gc": gc.isenabled(),
    "warnings": len(warnings.filters), "recursion": sys.getrecursionlimit(), "timeout": socket.getdefaulttimeout(),
    "locale": locale.setlocale(locale.LC_ALL), "host": os.uname().nodename,
    "processes": sorted(int(n) for n in folder("/proc") if n.isdigit()),
    "session": os.getsid(0), "group": os.getpgrp(), "parent": os.getppid(),
    "places": {p: folder(p) for p in PLACES}, "mounts": sorted([m[4], m[5][:2], m[m.index("-") + 1]] for m in mounts),
    "ipc": [open(f"/proc/sysvipc/{n}").read().count("\\n") for n in ("shm", "sem", "msg")],
    "abstract": open("/proc/net/unix").read().count("@leak"),
}))
"""

# What a task can leave behind, all of it.
SPOIL = """
import builtins, ctypes, gc, locale, mmap, os, resource, signal, socket, sys, threading, time, warnings
builtins.leak = sys.modules["leak"] = sys.modules["json"].leak = 1
os.environ["LEAK"] = "1"; os.chdir("/tmp"); os.umask(0o777); sys.path.append("/leak"); sys.argv.append("leak")
for path in ("/tmp/leak", "/home/flyte/leak", "/dev/shm/leak", "/run/leak", "/run/flyte-build/leak", "/dev/leak"):
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
    except OSError:
        pass
signal.signal(signal.SIGUSR1, lambda *_: None); signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99)); os.nice(3); gc.disable(); sys.setrecursionlimit(500)
warnings.simplefilter("error"); socket.setdefaulttimeout(1); locale.setlocale(locale.LC_ALL, "C")
os.dup2(0, 77); held = os.openpty(); memory = mmap.mmap(-1, 4096)
ctypes.CDLL(None).shmget(7, 4096, 0o1666)
own = socket.socket(socket.AF_UNIX); own.bind("\\0leak"); own.listen()
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
if os.fork() == 0:
    os.setsid(); time.sleep(600)
print("spoilt", flush=True)
"""
STAY = "\ntime.sleep(600)\n"


@pytest.mark.parametrize("network", ["host", "none"])
def test_a_fork_finds_what_a_cold_process_finds(
    engine: Entrance, image: ImageRoot, tmp_path: Path, network: Network
) -> None:
    """Before, while and after another one spoilt all that it could."""
    (tmp_path / "home").mkdir()
    box = box_of(image, network=network)
    env = {"ONE": "1", "PATH": "/run/flyte-build/bin"}
    # A checkout below /tmp has its interpreter there, which a cold process still has to find.
    places = ("/home/flyte",) if image.python.startswith("/tmp/") else ("/home/flyte", "/tmp")

    async def look(run: Any, log: str, code: str = LOOK, wait: bool = True) -> Any:
        running = await run(["a0", code], env, output=tmp_path / log)
        if not wait:
            while "spoilt" not in (tmp_path / log).read_text():
                await asyncio.sleep(0.01)
            return running
        assert await running.wait() == 0, (tmp_path / log).read_text()
        return json.loads((tmp_path / log).read_text()) if code == LOOK else None

    async def go() -> list[Any]:
        async with worker(engine, box, tmp_path / "worker") as (pool, warm, own):
            assert warm is not None, pool.note
            homes = [tmp_path / "worker" / "warm1" / str(number) for number in range(5)]
            found = []
            for home in homes:
                home.mkdir()

            def forked(number: int) -> Any:
                mounts = tuple(Mount(homes[number], t, writable=True) for t in places)
                mine = replace(own, mounts=(*own.mounts, *mounts))
                return lambda *a, **k: begin(pool, warm, mine, *a, **k)

            found.append(await look(forked(0), "first"))
            await look(forked(1), "spoilt", SPOIL)
            spoiling = await look(forked(2), "spoiling", SPOIL + STAY, wait=False)
            found.append(await look(forked(3), "last"))
            await spoiling.stop(grace=0)

            mounts = tuple(Mount(homes[4], t, writable=True) for t in places)
            mine = replace(own, mounts=(*own.mounts, *mounts))
            cold = Entrance(next(e for e in available() if isinstance(e, Unshare)), owner=engine.owner)
            found.append(await look(lambda a, e, **k: process.start(cold, mine, a, e, "/", **k), "cold"))
            return found

    first, last, cold = asyncio.run(go())
    # The host's network is the host's, for cold processes and for forks.
    assert last.pop("abstract") == (network == "host")
    assert first.pop("abstract") == cold.pop("abstract") == 0
    assert last == first
    assert first == cold
