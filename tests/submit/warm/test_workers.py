"""Workers: what they refuse to be forked, what hostile forks do to them, and how they and their forks end."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
from pathlib import Path

import pytest

from flyte_build.submit.action import ImageRoot
from flyte_build.submit.sandbox.entrance import Entrance
from flyte_build.submit.warm import becoming as inside
from flyte_build.submit.warm import forked
from flyte_build.submit.warm.forked import Lost
from flyte_build.submit.warm.pool import Worker
from tests.support.sandboxes import begin, box_of, worker

ENV = {"ONE": "1"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/opt/venv/bin/python\nimport re\n", ["/opt/venv/bin/python"]),
        ("#!/usr/bin/python3.12 -ISB\n", ["/usr/bin/python3.12", "-ISB"]),
        ("#!/usr/bin/env python3\n", ["/usr/bin/env", "python3"]),
        ("#! /bin/python3\n", ["/bin/python3"]),
        ("#!/bin/sh\n'''exec' \"/a folder/python\" \"$0\" \"$@\"\n' '''\n", ["/a folder/python"]),
        ("#!/bin/sh\n'''exec' /long/python3 \"$0\" \"$@\"\n' '''\n", ["/long/python3"]),
    ],
)
def test_a_script_names_its_interpreter(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "a0").write_text(text)
    assert inside.interpreter(str(tmp_path / "a0")) == words


@pytest.mark.parametrize("text", ["#!/bin/sh\necho a0\n", "#!/bin/bash\n", "\x7fELF\n", ""])
def test_what_is_no_script_of_pythons_is_not_forked(tmp_path: Path, text: str) -> None:
    (tmp_path / "a0").write_text(text)
    with pytest.raises(Exception, match=r"expected a Python script, found .*a0 with the first line"):
        inside.interpreter(str(tmp_path / "a0"))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("import threading, time; threading.Thread(target=time.sleep, args=(600,), name='odd').start()", "thread odd"),
        ("import socket; held = socket.socket()", "left open: socket:"),
        ("held = open('/dev/zero')", "left open: /dev/zero"),
        ("held = open('/etc/passwd')", "left open: /etc/passwd"),
        ("import mmap; held = mmap.mmap(-1, 4096)", "share memory with their forks: /dev/zero"),
        ("import asyncio; loop = asyncio.new_event_loop(); held = loop.create_task(asyncio.sleep(9))", "left tasks in"),
        ("import os; os._exit(3)", "its worker ended at once"),
        ("raise SystemExit('no more')", "no more"),
    ],
)
def test_what_does_not_survive_a_fork_is_named_and_actions_are_cold(
    engine: Entrance, image: ImageRoot, tmp_path: Path, module: str, why: str
) -> None:
    folder = tmp_path / "worker"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "odd.py").write_text(module)

    async def go() -> tuple[Worker | None, object]:
        async with worker(engine, box_of(image), folder, preload=["odd"]) as (pool, warm, _):
            return warm, pool.note

    warm, note = asyncio.run(go())
    assert warm is None
    assert str(note).startswith("actions of tests start cold, not as forks: ")
    assert why in str(note)


@pytest.mark.integration
def test_a_loop_in_a_thread_is_stopped_and_started_again(engine: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    """As the runtime has one: each fork has its own thread, and nothing of the loop is shared."""
    module = """
import asyncio, threading
loop = asyncio.new_event_loop()
thread = threading.Thread(target=loop.run_forever, name="mine", daemon=True)
thread.start()
"""
    code = """
import asyncio, json, odd, os, threading
async def ask():
    await asyncio.sleep(0)
    return threading.current_thread().name
print(json.dumps([asyncio.run_coroutine_threadsafe(ask(), odd.loop).result(20), odd.thread.is_alive()]))
"""
    folder = tmp_path / "worker"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "odd.py").write_text(module)

    async def go() -> None:
        async with worker(engine, box_of(image), folder, preload=["odd"]) as (pool, warm, own):
            assert warm is not None, pool.note
            both = [await begin(pool, warm, own, ["a0", code], ENV, output=tmp_path / name) for name in ("a", "b")]
            assert [await one.wait() for one in both] == [0, 0]

    asyncio.run(go())
    assert [json.loads((tmp_path / name).read_text()) for name in ("a", "b")] == [["mine", True]] * 2


HOSTILE = {
    "signals to all": """
import contextlib, os
with contextlib.suppress(ProcessLookupError):  # there is nobody else
    os.kill(-1, 9)
""",
    "signals to its group": "import os; os.kill(0, 9)",
    "stops its group": "import os, signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); os.kill(0, 19)",
    "kills process 1": "import os; [os.kill(1, n) for n in (9, 19, 11)]; os._exit(0)",
    "looks for descriptors": """
import os
links = {n: os.readlink(f"/proc/{p}/fd/{n}") for p in ("self",) for n in os.listdir(f"/proc/{p}/fd") if n > "2"
         and os.path.lexists(f"/proc/{p}/fd/{n}")}
assert not links, links
""",
    "reads process 1": """
import os
for name in ("mem", "environ", "maps"):
    try:
        with open(f"/proc/1/{name}", "rb") as f:
            found = f.read(1)
    except OSError:
        continue
    # What it may read is its own sandbox's process 1, which has forked it.
    assert name != "mem", found
""",
    "asks for more forks": """
import os, socket
for number in range(1024):
    try:
        s = socket.socket(fileno=number)
        s.send(b"a")
    except OSError:
        continue
    else:
        raise SystemExit(f"sent to {number}")
""",
}


@pytest.mark.integration
@pytest.mark.parametrize("how", list(HOSTILE))
def test_a_hostile_fork_reaches_neither_its_worker_nor_another(
    engine: Entrance, image: ImageRoot, tmp_path: Path, how: str
) -> None:
    stays = "import sys, time; print('up', flush=True); time.sleep(600)"

    async def go() -> None:
        async with worker(engine, box_of(image), tmp_path / "worker") as (pool, warm, own):
            assert warm is not None, pool.note
            bystander = await begin(pool, warm, own, ["a0", stays], ENV, output=tmp_path / "bystander")
            hostile = await begin(pool, warm, own, ["a0", HOSTILE[how]], ENV, output=tmp_path / "hostile")
            while how.startswith("stops") and not (tmp_path / "hostile").read_text():
                await asyncio.sleep(0.02)
            code = await (hostile.stop(grace=0.5) if how.startswith("stops") else hostile.wait())
            assert code == (137 if "group" in how else 0)
            assert warm.alive
            after = await begin(pool, warm, own, ["a0", "print('fine')"], ENV, output=tmp_path / "after")
            assert await after.wait() == 0
            assert not bystander._end.done()
            # It is told to end and killed at once: either may come first.
            assert await bystander.stop(grace=0) in (137, 143)

    asyncio.run(go())
    assert (tmp_path / "hostile").read_text() == ("up\n" if how.startswith("stops") else "")
    assert (tmp_path / "after").read_text() == "fine\n"


@pytest.mark.integration
def test_forks_draw_numbers_of_their_own(engine: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    code = "import os, random, uuid; print(random.random(), uuid.uuid4(), uuid.uuid1(), os.urandom(4).hex())"

    async def go() -> None:
        async with worker(engine, box_of(image), tmp_path / "worker", preload=["random", "uuid"]) as (pool, warm, own):
            assert warm is not None, pool.note
            for name in ("a", "b"):
                running = await begin(pool, warm, own, ["a0", code], ENV, output=tmp_path / name)
                assert await running.wait() == 0

    asyncio.run(go())
    first, second = ((tmp_path / name).read_text().split() for name in ("a", "b"))
    assert len(first) == 4
    assert not set(first) & set(second)


@pytest.mark.integration
def test_stop_asks_then_kills_everything(engine: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    deaf = "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.fork(); print('up', flush=True)"
    polite = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(9)); print('up', flush=True)"

    async def go() -> list[int]:
        async with worker(engine, box_of(image), tmp_path / "worker") as (pool, warm, own):
            assert warm is not None, pool.note
            codes = []
            for number, code in enumerate((deaf, polite)):
                log = tmp_path / str(number)
                running = await begin(pool, warm, own, ["a0", f"{code}; time.sleep(600)"], ENV, output=log)
                while "up" not in log.read_text():
                    await asyncio.sleep(0.02)
                codes.append(await running.stop(grace=0.2 if code is deaf else 60))
            return codes

    assert asyncio.run(go()) == [137, 9]


@pytest.mark.integration
def test_actions_of_a_worker_that_dies_are_lost_and_nothing_is_left_of_them(
    engine: Entrance, image: ImageRoot, tmp_path: Path
) -> None:
    stays = "import sys, time; print('up', flush=True); time.sleep(600)"

    async def go() -> None:
        async with worker(engine, box_of(image), tmp_path / "worker") as (pool, warm, own):
            assert warm is not None, pool.note
            running = await begin(pool, warm, own, ["a0", stays], ENV, output=tmp_path / "log")
            handle = os.pidfd_open(running.pid)
            os.kill(warm.running.pid, signal.SIGKILL)
            assert await running.ended() is None
            assert await warm.died()
            with select.epoll() as ends:
                ends.register(handle, select.EPOLLIN)
                assert ends.poll(60), "its process has ended, too"
            os.close(handle)
            with pytest.raises(AssertionError):  # it is to be cold
                await begin(pool, warm, own, ["a0", stays], ENV, output=tmp_path / "log")
            assert pool._cold

    asyncio.run(go())


@pytest.mark.integration
def test_an_action_that_cannot_enter_its_sandbox_is_to_be_cold(
    engine: Entrance, image: ImageRoot, tmp_path: Path
) -> None:
    async def go() -> None:
        async with worker(engine, box_of(image), tmp_path / "worker") as (pool, warm, own):
            assert warm is not None, pool.note
            header = {"argv": ["a0"], "env": {}, "cwd": "/", "socket": None, "files": None}
            box = {"root": "/nowhere", "masked": [], "read_only": [], "tmpfs": [], "mounts": [], "loopback": False}
            with pytest.raises(Lost, match="No such file or directory"):
                await forked.begin(warm.control, {**header, "box": box}, output=tmp_path / "log")
            # Another one can.
            fine = await pool.start(warm, own, ["a0", "pass"], ENV, "/", output=tmp_path / "log")
            assert fine is not None
            assert await fine.wait() == 0

    asyncio.run(go())
