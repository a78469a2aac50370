"""Traces: what a task says it has done."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from flyteidl2.actions import actions_service_pb2 as pb
from flyteidl2.common import phase_pb2

from flyte_build.submit.action import LaunchRequest, Outcome, Phase
from tests.support.engine import World


def test_a_trace_of_no_time_is_recorded_all_the_same(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def main(request: LaunchRequest) -> Outcome:
        action = pb.Action(action_id=world.id("t"), parent_action_name="a0")
        action.trace.name, action.trace.phase = "step", phase_pb2.ACTION_PHASE_SUCCEEDED
        action.trace.start_time.seconds = 1_000_000_000
        action.trace.end_time.seconds = 2**63 - 1
        await world.engine.enqueue(action)
        return Outcome(0)

    world.launcher.bodies["main"] = main
    before = time.time()
    assert asyncio.run(world.go()).phase is Phase.SUCCEEDED
    (trace,) = (r for r in world.engine.records() if r.name == "t")
    assert trace.started == 1e9
    assert trace.ended is not None
    assert before <= trace.ended <= time.time()
