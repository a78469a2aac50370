"""Runs as they lie on the disk, made by hand: calls in a line, with the journal, logs and values of such a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import obstore
from flyteidl2.core import literals_pb2
from flyteidl2.task import common_pb2

from flyte_build.submit.action import ErrorInfo, Phase
from flyte_build.submit.history import Run, read_run
from flyte_build.submit.journal import ActionRecord
from flyte_build.submit.storage import MOUNT, Storage

__all__ = ["Call", "make_run", "store_run"]

START = 1_795_000_000.0


@dataclass(frozen=True)
class Call:
    """One action: when it was queued, begun and ended (seconds after the run's start), and what it left."""

    name: str
    parent: str = ""
    task: str = "env.work"
    times: tuple[float, float | None, float | None] = (0.0, 0.1, 1.0)
    phase: Phase = Phase.SUCCEEDED
    environment: str = "env"
    source: str = ""
    group: str = ""
    error: ErrorInfo | None = None
    failed_attempts: tuple[tuple[float, float], ...] = ()
    log: str | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    report: str | None = None


def make_run(
    runs: Path, calls: Sequence[Call], *, name: str = "r20261120-101500-ab12", ended: bool = True, **facts: Any
) -> Run:
    """A run of these calls in the folder ``runs``, read back."""
    storage = Storage(runs)
    folder = storage.run(name)
    folder.path.mkdir(parents=True)
    stated = {"schema": 1, "name": name, "task": calls[0].task, "started": START, "images": {}, **facts}
    folder.facts.write_text(json.dumps(stated))
    lines = [json.dumps({"action": record.to_json()}) for call in calls for record in _records(call, storage, name)]
    if ended:
        last = max(call.times[2] or 0.0 for call in calls)
        lines.append(json.dumps({"run": {"phase": calls[0].phase.value, "ended": START + last}}))
    folder.journal.write_text("\n".join(lines) + "\n")
    return read_run(runs, name)


def store_run(run: Run, store: Any, url: str, *, log: bool = True) -> None:
    """Put a run of :func:`make_run` into an object storage as a cluster has it; ``log``: with what was printed."""
    runs = str(run.folder.parent)
    for path in run.folder.rglob("*"):
        key = path.relative_to(runs).as_posix()
        if path.is_file() and not key.endswith("journal.jsonl") and (log or not key.endswith(".log")):
            obstore.put(store, key, path.read_bytes())
    lines = []
    for line in (run.folder / "journal.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "action" in entry:
            action = entry["action"]
            for field_ in ("output_uri", "report"):
                action[field_] = str(action.get(field_) or "").replace(runs, url).replace(MOUNT, url)
        lines.append(json.dumps(entry))
    obstore.put(store, f"{run.name}/journal/000001-000001.jsonl", ("\n".join(lines) + "\n").encode())


def _records(call: Call, storage: Storage, run: str) -> list[ActionRecord]:
    folder = storage.run(run)
    queued, started, ended = call.times
    attempt = len(call.failed_attempts) + (started is not None)
    if call.log is not None:
        path = folder.log(call.name, attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(call.log)
    if call.inputs:
        folder.inputs(call.name).parent.mkdir(parents=True, exist_ok=True)
        folder.inputs(call.name).write_bytes(common_pb2.Inputs(literals=_literals(call.inputs)).SerializeToString())
    uri = ""
    if call.outputs:
        target = folder.outcome(call.name, attempt)
        target.mkdir(parents=True, exist_ok=True)
        outputs = common_pb2.Outputs(literals=_literals(call.outputs)).SerializeToString()
        (target / "outputs.pb").write_bytes(outputs)
        uri = storage.uri(target)
    report = ""
    if call.report is not None:
        file = folder.outcome(call.name, attempt) / "report.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(call.report)
        report = str(file)
    first = ActionRecord(
        call.name,
        call.parent,
        task=call.task,
        environment=call.environment,
        group=call.group,
        queued=START + queued,
        image=f"sha256:{'1' * 64}",
    )
    out = [first]
    for number, (begun, over) in enumerate(call.failed_attempts, 1):
        out.append(first.replace(phase=Phase.RUNNING, attempt=number, started=START + begun))
        out.append(first.replace(phase=Phase.QUEUED, attempt=number, started=START + begun, ended=START + over))
    if started is not None:
        out.append(first.replace(phase=Phase.RUNNING, attempt=attempt, started=START + started))
    out.append(
        first.replace(
            phase=call.phase,
            attempt=attempt,
            started=None if started is None else START + started,
            ended=None if ended is None else START + ended,
            source=call.source,
            error=call.error,
            output_uri=uri,
            report=report,
        )
    )
    return out


def _literals(values: dict[str, str]) -> list[common_pb2.NamedLiteral]:
    return [
        common_pb2.NamedLiteral(
            name=name,
            value=literals_pb2.Literal(
                scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value))
            ),
        )
        for name, value in values.items()
    ]
