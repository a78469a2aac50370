"""What a task says that it has done itself: a trace, recorded, with its outputs taken over."""

from __future__ import annotations

import time

from flyteidl2.core import execution_pb2
from flyteidl2.workflow import run_definition_pb2
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from ..kernel.errors import RunError
from . import door
from .action import ERROR, OUTPUTS, ErrorInfo, Launcher, Phase
from .journal import ActionRecord
from .observer import Observer
from .protobuf import phase_of
from .storage import RunFolder

__all__ = ["recorded"]


async def recorded(
    record: ActionRecord,
    trace: run_definition_pb2.TraceAction,
    parent: ActionRecord,
    folder: RunFolder,
    launcher: Launcher,
    observer: Observer,
) -> ActionRecord:
    """The record of a trace of ``parent``. Outputs that cannot be taken over are only said."""
    phase = phase_of(trace.phase)
    record = record.replace(
        task=trace.name,
        environment=parent.environment,
        image=parent.image,
        phase=phase,
        started=_time(trace.start_time),
        ended=_time(trace.end_time),
        output_uri=trace.outputs.output_uri,
        error=await _error(trace.name, record.name, folder, launcher) if phase is Phase.FAILED else None,
    )
    if phase is not Phase.SUCCEEDED or not record.output_uri:
        return record
    target = folder.kept / record.name / OUTPUTS
    try:
        await launcher.settle(parent.name, record.output_uri, target, "outputs")
    except (OSError, ValueError, DecodeError) as e:
        observer.warn(f"files of the trace {trace.name} are not kept: {e}")
        return record
    return record.replace(output_uri=folder.storage.uri(target))


async def _error(title: str, name: str, folder: RunFolder, launcher: Launcher) -> ErrorInfo:
    try:
        await launcher.fetch(folder.meta / name / ERROR)
        with door.folder(folder.path) as top:
            data = door.read(top, f"meta/{name}/{ERROR}")
        found = execution_pb2.ErrorDocument.FromString(data).error
        return ErrorInfo(found.code, found.message)
    except (OSError, DecodeError, RunError):
        return ErrorInfo("TraceFailed", f"{title} failed")


def _time(told: Timestamp) -> float:
    """Seconds since the epoch; now, where a task tells what is no time (protobuf's end with the year 9999)."""
    try:
        return told.ToNanoseconds() / 1e9
    except ValueError:
        return time.time()
