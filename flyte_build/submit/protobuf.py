"""Between the journal's records and the protobuf that the runtime reads. Pure."""

from __future__ import annotations

from flyteidl2.common import identifier_pb2, phase_pb2
from flyteidl2.core import execution_pb2, literals_pb2
from flyteidl2.workflow import state_service_pb2

from .action import Phase
from .journal import ActionRecord

__all__ = ["action_update", "phase_number", "phase_of"]

_PHASES = {
    Phase.QUEUED: phase_pb2.ACTION_PHASE_QUEUED,
    Phase.RUNNING: phase_pb2.ACTION_PHASE_RUNNING,
    # Not ACTION_PHASE_PAUSED: runtimes before 2.10 do not know it, and a condition that waits is running to them.
    Phase.PAUSED: phase_pb2.ACTION_PHASE_RUNNING,
    Phase.SUCCEEDED: phase_pb2.ACTION_PHASE_SUCCEEDED,
    Phase.FAILED: phase_pb2.ACTION_PHASE_FAILED,
    Phase.ABORTED: phase_pb2.ACTION_PHASE_ABORTED,
    Phase.TIMED_OUT: phase_pb2.ACTION_PHASE_TIMED_OUT,
}


def phase_of(phase: int) -> Phase:
    """The phase a trace reports of itself; anything but a failure is a success."""
    return Phase.FAILED if phase == phase_pb2.ACTION_PHASE_FAILED else Phase.SUCCEEDED


def phase_number(phase: Phase) -> phase_pb2.ActionPhase:
    """The phase as it is sent."""
    return _PHASES[phase]


def action_update(record: ActionRecord, run: identifier_pb2.RunIdentifier) -> state_service_pb2.ActionUpdate:
    """A record as a watcher receives it."""
    update = state_service_pb2.ActionUpdate(
        action_id=identifier_pb2.ActionIdentifier(run=run, name=record.name),
        phase=_PHASES[record.phase],
        output_uri=record.output_uri,
    )
    # An aborted action raises by its phase; a failed trace without an error is called again, not replayed.
    if record.error is not None and record.phase is not Phase.ABORTED and record.kind != "trace":
        kinds = execution_pb2.ExecutionError
        kind = kinds.SYSTEM if record.error.kind == "system" else kinds.USER
        update.error.CopyFrom(kinds(code=record.error.code, message=record.error.message, kind=kind))
    if record.value:
        update.value.CopyFrom(literals_pb2.Literal.FromString(bytes.fromhex(record.value)))
    return update
