"""Records of actions as a backend describes them: ``flyteidl2.workflow`` messages. Pure."""

from __future__ import annotations

import time
from typing import Any

from flyteidl2.common import identifier_pb2
from flyteidl2.task import task_definition_pb2
from flyteidl2.workflow import run_definition_pb2 as pb

from ..action import ROOT_ACTION, Phase
from ..journal import ActionRecord
from ..protobuf import phase_number

__all__ = ["action_of", "details_of", "identifier_of"]


def identifier_of(record: ActionRecord, run: identifier_pb2.RunIdentifier) -> identifier_pb2.ActionIdentifier:
    """What tasks call an action: the root of a child run is ``a0`` of that run."""
    if not record.run:
        return identifier_pb2.ActionIdentifier(run=run, name=record.name)
    own = identifier_pb2.RunIdentifier(org=run.org, project=run.project, domain=run.domain, name=record.run)
    return identifier_pb2.ActionIdentifier(run=own, name=ROOT_ACTION)


def action_of(record: ActionRecord, run: identifier_pb2.RunIdentifier) -> pb.Action:
    """An action as it is listed."""
    return pb.Action(id=identifier_of(record, run), metadata=_metadata(record), status=_status(record))


def details_of(
    record: ActionRecord, run: identifier_pb2.RunIdentifier, spec: task_definition_pb2.TaskSpec | None
) -> pb.ActionDetails:
    """All that is known of an action; ``spec`` is its task's, which says how outputs are read."""
    details = pb.ActionDetails(id=identifier_of(record, run), metadata=_metadata(record), status=_status(record))
    if spec is not None:
        details.task.CopyFrom(spec)
    if record.attempt:
        attempt: Any = details.attempts.add(attempt=record.attempt, phase=phase_number(record.phase))
        if "logs_available" in attempt.DESCRIPTOR.fields_by_name:
            attempt.logs_available = True
    if record.error is not None and record.phase is Phase.ABORTED:
        details.abort_info.reason = record.error.message
    elif record.error is not None and record.phase.terminal:
        info = details.error_info
        info.message = record.error.message
        info.kind = pb.ErrorInfo.KIND_SYSTEM if record.error.kind == "system" else pb.ErrorInfo.KIND_USER
        if "code" in info.DESCRIPTOR.fields_by_name:
            info.code = record.error.code
    return details


def _metadata(record: ActionRecord) -> pb.ActionMetadata:
    # Above the root of a child run there is nothing, within that run.
    metadata = pb.ActionMetadata(parent="" if record.run else record.parent, group=record.group)
    if record.kind == "task":
        metadata.task.id.name = record.task
        metadata.environment_name = record.environment
    return metadata


def _status(record: ActionRecord) -> pb.ActionStatus:
    status = pb.ActionStatus(phase=phase_number(record.phase), attempts=record.attempt)
    status.start_time.FromNanoseconds(int((record.started or record.queued) * 1e9))
    if record.phase.terminal:
        ended = record.ended or time.time()
        status.end_time.FromNanoseconds(int(ended * 1e9))
        status.duration_ms = max(0, int((ended - (record.started or record.queued)) * 1000))
    return status
