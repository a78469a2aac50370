"""How large messages of tasks may be: 64 MiB, or what the task says with ``max_inline_io_bytes``."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from flyteidl2.core import literals_pb2
from flyteidl2.task import common_pb2

from flyte_build.submit import cache, door, outputs
from flyte_build.submit.action import INLINE, LaunchRequest, Outcome, Phase
from flyte_build.submit.outputs import Settlement, View
from flyte_build.submit.scratch import copy
from flyte_build.submit.storage import Storage
from tests.support.engine import World


def message(size: int) -> bytes:
    literal = literals_pb2.Literal(
        scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value="x" * size))
    )
    return common_pb2.Outputs(literals=[common_pb2.NamedLiteral(name="o0", value=literal)]).SerializeToString()


def test_a_task_that_says_more_is_asked_for_more(tmp_path: Path) -> None:
    """Of a child, for its inputs and its outputs; what says less than the usual has the usual."""
    world = World(tmp_path, inline={"big": INLINE + 1, "small": 10})

    async def main(request: LaunchRequest) -> Outcome:
        for task in ("big", "small", "other"):
            await world.engine.enqueue(world.task(task, task, request.action))
            await world.engine.wait(task)
        return Outcome(0)

    world.launcher.bodies["main"] = main
    assert asyncio.run(asyncio.wait_for(world.go(), 60)).phase is Phase.SUCCEEDED
    assert world.launcher.settled == [(n, "inputs", INLINE + (n == "big")) for n in ("big", "small", "other")]
    by_task = {r.task: r.inline for r in world.launcher.requests}
    assert by_task == {"main": INLINE, "big": INLINE + 1, "small": INLINE, "other": INLINE}


def test_a_message_is_settled_up_to_its_bound_and_not_read_beyond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = message(1000)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/outputs.pb").write_bytes(data)
    settlement = Settlement(View({}), tmp_path / "files", "/mnt/flyte/runs/r/kept/files")
    settlement.settle(tmp_path, "raw/outputs.pb", tmp_path / "kept/outputs.pb", common_pb2.Outputs, len(data))
    assert (tmp_path / "kept/outputs.pb").read_bytes() == data
    # Nothing is looked for in a message that is too large.
    monkeypatch.setattr(outputs, "rewrite", lambda *_: pytest.fail("it was parsed"))
    with pytest.raises(door.Refused, match=f"expected at most {len(data) - 1} bytes, found more"):
        settlement.settle(tmp_path, "raw/outputs.pb", tmp_path / "kept/2.pb", common_pb2.Outputs, len(data) - 1)
    assert not (tmp_path / "kept/2.pb").exists()


@pytest.mark.parametrize("cloned", [True, False])
def test_what_need_not_be_read_is_copied_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cloned: bool
) -> None:
    if not cloned:
        monkeypatch.setattr(door, "_FICLONE", 0)
    monkeypatch.setattr(door, "read", lambda *_: pytest.fail("it was read into memory"))
    data = os.urandom(3 << 20)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/report.html").write_bytes(data)
    copy(tmp_path, "raw/report.html", tmp_path / "kept/report.html", len(data))
    assert (tmp_path / "kept/report.html").read_bytes() == data
    with pytest.raises(door.Refused, match="expected at most 1000 bytes, found more"):
        copy(tmp_path, "raw/report.html", tmp_path / "kept/2", 1000)
    assert os.listdir(tmp_path / "kept") == ["report.html"]


def test_one_that_is_endless_is_not_copied_to_its_end(tmp_path: Path) -> None:
    """As long as a disk has room for it, or a file system numbers for its size."""
    (tmp_path / "raw").mkdir()
    with (tmp_path / "raw/outputs.pb").open("wb") as f:
        f.truncate(1 << 42)
    with pytest.raises(door.Refused):
        copy(tmp_path, "raw/outputs.pb", tmp_path / "kept/outputs.pb", INLINE)
    assert os.listdir(tmp_path / "kept") == []


def test_what_was_kept_is_read_again_whatever_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "INLINE", 1000)
    storage = Storage(tmp_path)
    for place in ("kept/a0/1", "meta/a0/1"):
        (tmp_path / "r" / place).mkdir(parents=True)
        (tmp_path / "r" / place / "outputs.pb").write_bytes(message(2000))
    found = cache.stored_outputs("/mnt/flyte/runs/r/kept/a0/1/outputs.pb", storage)
    assert found is not None
    assert len(found.literals[0].value.scalar.primitive.string_value) == 2000
    # Where tasks could write, as runs of old have it, the usual bound holds.
    assert cache.stored_outputs("/mnt/flyte/runs/r/meta/a0/1/outputs.pb", storage) is None
