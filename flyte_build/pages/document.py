"""A run → one JSON document: all that its page shows. Only reads, and never more of a file than its bound.

    {"schema": 1, "name", "task", "phase", "started", "ended", "images": {environment: digest}, "command",
     "layers": {digest: [{"title", "size", "digest"}]},
     "actions": [{"name", "parent", "kind", "task", "environment", "group", "phase", "source", "queued", "started",
                  "ended", "image", "error", "short_name", "queue", "interruptible", "doc",
                  "attempts": [{"number", "started", "ended", "phase", "error"}], "inputs", "outputs", "report",
                  "logs": [{"number", "text", "size"}]}]}

Times are seconds since the epoch. ``phase`` of a run that was killed is ``killed``. Where a cluster alone tells of the
run, ``told`` says why, and the phase of what is over is ``ended``. With ``light`` the parts that grow
(logs, inputs, outputs, reports) are left out: a live page asks for those of one action by themselves.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flyteidl2.task import common_pb2
from google.protobuf.message import DecodeError

from ..submit.action import Phase
from ..submit.history import Run
from ..submit.journal import ActionRecord, read_journal
from ..submit.literals import plain_outputs
from ..submit.storage import MOUNT, Storage

__all__ = ["DetailsOf", "LayersOf", "details_of", "document_of"]

_LOG = 64 << 10
_VALUES = 4 << 20
_SHOWN_VALUE = 4_000
_REPORT = 2 << 20
_WHOLE = 24 << 20

LayersOf = Callable[[str], Sequence[Mapping[str, Any]]]
DetailsOf = Callable[[Run, ActionRecord], Mapping[str, Any]]


def document_of(
    run: Run,
    *,
    light: bool = False,
    layers_of: LayersOf = lambda digest: (),
    base: str = MOUNT,
    details: DetailsOf | None = None,
) -> dict[str, Any]:
    """The document of ``run``. ``layers_of`` says of an image's digest what it is made of, where that is known here.
    ``base`` is what its tasks call the runs' folder: of a cluster's, the URL of its storage. ``details``
    gives what :func:`details_of` does, of runs whose files are not here."""
    attempts = _attempts(run)
    room = [_WHOLE]
    actions = []
    for record in run.actions:
        action = _action(record, attempts.get(record.name, []), run.docs.get(record.task, ""))
        if not light:
            action |= details_of(run, record, room, base) if details is None else details(run, record)
        for over in (action, *action["attempts"]) if run.told else ():
            if over["ended"] is not None:
                over["phase"] = "ended"
        actions.append(action)
    images = {a.environment: a.image for a in run.actions if a.image}
    stated = run.facts.get("images")
    if isinstance(stated, dict):
        images |= {str(k): str(v) for k, v in stated.items() if k not in images}
    return {
        "schema": 1,
        "name": run.name,
        "task": run.task,
        "phase": run.state,
        **({"told": run.told} if run.told else {}),
        "started": run.started,
        "ended": run.ended,
        "resumed": run.facts.get("resume") or None,
        "command": _command(run.facts.get("invocation")),
        "images": images,
        "layers": {digest: found for digest in sorted(set(images.values())) if (found := list(layers_of(digest)))},
        "actions": actions,
    }


def details_of(run: Run, record: ActionRecord, room: list[int] | None = None, base: str = MOUNT) -> dict[str, Any]:
    """What ``record`` took, gave, printed and reported. ``room[0]``: bytes that may still be shown of the whole run."""
    room = [_WHOLE] if room is None else room
    storage = Storage(run.folder.parent, base)
    folder = storage.run(run.name)
    out: dict[str, Any] = {}
    inputs = _read(folder.inputs(record.name), _VALUES)
    if inputs is not None:
        out["inputs"] = _bounded(_inputs(inputs, storage), room)
    if record.output_uri:
        try:
            outputs = _read(storage.path(record.output_uri) / "outputs.pb", _VALUES)
            out["outputs"] = _bounded(plain_outputs(outputs, storage), room) if outputs is not None else {}
        except (ValueError, DecodeError):
            out["outputs"] = {}
    logs = []
    for path in sorted(folder.log(record.name, 1).parent.glob("*.log"), key=_number):
        text, size = _tail(path, min(_LOG, room[0]))
        room[0] -= len(text)
        logs.append({"number": _number(path), "text": text, "size": size})
    out["logs"] = logs
    if record.report:
        report = _read(Path(record.report), min(_REPORT, room[0]))
        room[0] -= len(report or b"")
        out["report"] = None if report is None else report.decode("utf-8", "replace")
        out["report_path"] = record.report
    return out


def _action(record: ActionRecord, attempts: list[dict[str, Any]], doc: str) -> dict[str, Any]:
    error = record.error
    return {
        "name": record.name,
        "parent": record.parent,
        "kind": record.kind,
        "task": record.task,
        "environment": record.environment,
        "group": record.group,
        "phase": record.phase.value,
        "source": record.source,
        "queued": record.queued,
        "started": record.started,
        "ended": record.ended,
        "image": record.image,
        "error": None if error is None else {"code": error.code, "message": error.message, "kind": error.kind},
        "short_name": record.short_name,
        "queue": record.queue,
        "interruptible": record.interruptible,
        "doc": doc,
        "attempts": attempts,
    }


def _attempts(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Each action's attempts, from all that the journal says: an attempt ends where the next begins, if nobody says."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    # A cluster's run has its journal elsewhere; its actions tell of their earlier attempts themselves.
    kept = () if run.told else read_journal(run.folder / "journal.jsonl")
    said = list(kept) or [{"action": a.to_json()} for a in run.actions]
    for entry in said:
        if "action" not in entry:
            continue
        record = ActionRecord.from_json(entry["action"])
        if record.attempt < 1 or record.started is None:
            continue
        mine = found.setdefault(record.name, {})
        before = mine.get(record.attempt - 1)
        if before is not None and before["ended"] is None:
            before |= {"ended": record.started, "phase": Phase.FAILED.value}
        now = {"number": record.attempt, "started": record.started, "ended": None, "phase": "running", "error": ""}
        one = mine.setdefault(record.attempt, now)
        if record.ended is not None:
            one |= {"ended": record.ended, "phase": (record.phase if record.phase.terminal else Phase.FAILED).value}
        for over in record.attempts:
            told = {"number": over.number, "started": over.started, "ended": over.ended, "error": over.error}
            mine[over.number] = told | {"phase": over.phase.value}
    return {name: [mine[number] for number in sorted(mine)] for name, mine in found.items()}


def _command(invocation: object) -> str | None:
    """The command line that started the run, as one would type it."""
    if not isinstance(invocation, dict) or not isinstance(invocation.get("file"), str):
        return None
    rest = invocation.get("arguments")
    words = ["flyte-build", "run", invocation["file"], str(invocation.get("task", ""))]
    return shlex.join([*words, *(str(word) for word in rest if isinstance(rest, list))] if rest else words)


def _inputs(data: bytes, storage: Storage) -> dict[str, Any]:
    try:
        literals = common_pb2.Inputs.FromString(data).literals
    except DecodeError:
        return {}
    # Inputs and outputs are lists of the same named literals.
    return plain_outputs(common_pb2.Outputs(literals=literals).SerializeToString(), storage)


def _bounded(values: Mapping[str, Any], room: list[int]) -> dict[str, str]:
    """Each value as the JSON that a person reads, long ones cut."""
    out = {}
    for name, value in values.items():
        text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
        room[0] -= min(len(text), _SHOWN_VALUE)
        out[name] = text if len(text) <= _SHOWN_VALUE else f"{text[:_SHOWN_VALUE]}… ({len(text):,} characters)"
    return out


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 0


def _read(path: Path, most: int) -> bytes | None:
    """A regular file's bytes; ``None`` where there is none, or it has more than ``most``."""
    data, size = _open(path, most, 0)
    return data if data is not None and size <= most else None


def _tail(path: Path, most: int) -> tuple[str, int]:
    """The last ``most`` bytes as text, and the file's size."""
    data, size = _open(path, most, max(most, 0))
    return (data or b"").decode("utf-8", "replace"), size


def _open(path: Path, most: int, tail: int) -> tuple[bytes | None, int]:
    """Up to ``most`` bytes from the start, or the last ``tail``; links and what is no file are none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None, 0
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            return None, 0
        if tail and found.st_size > tail:
            file.seek(found.st_size - tail)
        return file.read(max(most, 0)), found.st_size
