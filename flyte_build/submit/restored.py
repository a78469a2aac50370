"""What a driver that begins anew knows of the actions of its run: as they were enqueued, and what the journal says.

The order of the journal counts, not its times: clocks of two machines may differ.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from flyteidl2.actions import actions_service_pb2

from ..kernel.values import dataclass
from .action import ErrorInfo, Phase
from .journal import ActionRecord
from .live import ChildRun

__all__ = ["Restored", "restored"]


@dataclass(frozen=True, slots=True)
class Restored:
    """One action: its last record, and, where it has not ended, as it was enqueued.

    ``announced``: its parent's present attempt was told of its end, or will be; a failure of before is not its own.
    ``child``: what the run has of its own that it is the root of, where a task started it.
    """

    record: ActionRecord
    action: actions_service_pb2.Action | None = None
    announced: bool = True
    child: ChildRun | None = None


def restored(
    actions: Mapping[str, actions_service_pb2.Action], journal: Iterable[Mapping[str, Any]], bundle: str = ""
) -> list[Restored]:
    """The actions of a run, whose code is ``bundle``, parents before their children.

    An action without a record was enqueued just before its driver ended; a record without an action is a trace's, or of
    one that had ended. Raises :class:`RunError` for a record that is none.
    """
    records: dict[str, ActionRecord] = {}
    # Where in the journal an action was said to have ended, and to have begun its last attempt.
    ended: dict[str, int] = {}
    began: dict[str, int] = {}
    children: dict[str, ChildRun] = {}
    for place, entry in enumerate(journal):
        if "child" in entry:
            told = entry["child"]
            children[str(told["name"])] = ChildRun(dict(told["env"]), bool(told["refresh"]))
        if "action" not in entry:
            continue
        record = ActionRecord.from_json(entry["action"])
        before = records.get(record.name)
        records[record.name] = record
        if record.phase.terminal:
            ended[record.name] = place
        elif record.phase is Phase.RUNNING and (before is None or before.attempt != record.attempt):
            began[record.name] = place
    for name, action in actions.items():
        if name not in records:
            kind: Any = action.WhichOneof("spec")
            records[name] = ActionRecord(
                name, action.parent_action_name, kind, group=action.group, bundle=bundle, queued=time.time(),
                run=name if name in children else "",
            )  # fmt: skip
    found = []
    for record in _parents_first(records):
        action = actions.get(record.name)
        parent = records.get(record.parent)
        orphan = parent is not None and parent.phase.terminal and not record.run
        if not record.phase.terminal and (action is None or orphan):
            error = ErrorInfo("Aborted", "its driver ended before it began")
            record = records[record.name] = record.replace(phase=Phase.ABORTED, error=error)
        stale = ended.get(record.name, -1) < began.get(record.parent, -1)
        announced = record.phase is Phase.SUCCEEDED or not record.phase.terminal or not stale
        child = children.get(record.name, ChildRun()) if record.run else None
        found.append(Restored(record, None if record.phase.terminal else action, announced, child))
    return found


def _parents_first(records: Mapping[str, ActionRecord]) -> list[ActionRecord]:
    """In the order of the records, but for parents that come later; what has no parent in it is left out."""
    ordered: dict[str, ActionRecord] = {}
    for record in records.values():
        chain: list[ActionRecord] = []
        above: ActionRecord | None = record
        while above is not None and above.name not in ordered and above not in chain:
            chain.append(above)
            above = records.get(above.parent)
        ordered |= {r.name: r for r in reversed(chain) if not r.parent or r.parent in records}
    return list(ordered.values())
