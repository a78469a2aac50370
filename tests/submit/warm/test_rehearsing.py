"""A worker's first action is begun without a rehearsal, and what that brings is for the next ones."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from flyte_build.submit.action import ImageRoot
from flyte_build.submit.sandbox.entrance import Entrance
from tests.support.sandboxes import begin, box_of, worker

pytestmark = pytest.mark.integration
ENV = {"ONE": "1"}

LATE = """
import os
with open(f"/run/flyte-build/scratch/{os.getpid()}-{os.getppid()}", "w"):
    pass
"""
# What a rehearsal imports, and no action.
LATELY = "import sys\nif sys.argv[1] == '--inputs': import late\nelse: exec(sys.argv[1])"


def _with_late(folder: Path, text: str) -> None:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "odd.py").touch()
    (folder / "bin" / "late.py").write_text(text)


def test_the_first_action_waits_for_no_rehearsal_and_the_second_has_what_came_of_it(
    engine: Entrance, image: ImageRoot, tmp_path: Path
) -> None:
    code = "import sys; print('late' in sys.modules, flush=True); sys.stdin.read()"
    folder = tmp_path / "worker"
    _with_late(folder, "pass")

    async def go() -> None:
        async with worker(engine, box_of(image), folder, script=LATELY, preload=["odd"]) as (pool, warm, own):
            assert warm is not None, pool.note
            both = [await begin(pool, warm, own, ["a0", code], ENV, output=tmp_path / name) for name in ("a", "b")]
            assert [await one.wait() for one in both] == [0, 0]

    asyncio.run(go())
    assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["False\n", "True\n"]


def test_a_rehearsal_begins_by_itself_once_an_action_runs_and_the_end_of_that_is_told(
    engine: Entrance, image: ImageRoot, tmp_path: Path
) -> None:
    folder = tmp_path / "worker"
    _with_late(folder, LATE)

    async def go() -> None:
        async with worker(engine, box_of(image), folder, script=LATELY, preload=["odd"]) as (pool, warm, own):
            assert warm is not None, pool.note
            assert not list(warm.scratch.iterdir()), "nothing is rehearsed before an action"
            running = await begin(pool, warm, own, ["a0", "import time; time.sleep(1)"], ENV, output=tmp_path / "a")
            async with asyncio.timeout(60):
                while len(list(warm.scratch.iterdir())) < 2:  # the rehearsal's, and its worker's own
                    await asyncio.sleep(0.02)
            assert await running.wait() == 0

    asyncio.run(go())


@pytest.mark.parametrize(
    ("late", "why"),
    [
        ("import socket; held = socket.socket()", "left open: socket:"),
        (
            "import threading, time; threading.Thread(target=time.sleep, args=(60,), name='odd', daemon=True).start()",
            "odd",
        ),
        ("import os\nif os.getppid() == 0: raise SystemExit('no more')", "no more"),
    ],
)
def test_what_a_rehearsal_brings_that_does_not_survive_a_fork_makes_the_next_actions_cold(
    engine: Entrance, image: ImageRoot, tmp_path: Path, late: str, why: str
) -> None:
    """The first is a fork of what was still: it goes on, and its end is its own."""
    folder = tmp_path / "worker"
    _with_late(folder, late)
    notes: list[str] = []

    async def go() -> None:
        async with worker(engine, box_of(image), folder, script=LATELY, preload=["odd"]) as (pool, warm, own):
            assert warm is not None, pool.note
            pool.note = notes.append
            first = await begin(pool, warm, own, ["a0", "import time; time.sleep(1)"], ENV, output=tmp_path / "a")
            for name in ("b", "c"):
                none = await pool.start(warm, own, ["a0", "pass"], ENV, "/", output=tmp_path / name)
                assert none is None
            assert await first.wait() == 0

    asyncio.run(go())
    assert len(notes) == 1
    assert notes[0].startswith("actions of tests start cold, not as forks: ")
    assert why in notes[0]
