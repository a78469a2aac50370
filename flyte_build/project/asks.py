"""What an environment's tasks ask of a machine: read off the SDK's objects into words. Part of the SDK's edge."""

from __future__ import annotations

from typing import Any

from .nouns import Asks
from .stubs import is_stand_in

__all__ = ["asks_of", "task_asks"]

_AMOUNTS = ("cpu", "memory", "disk", "shm")


def asks_of(environment: Any) -> Asks:
    """What the environment says for all of its tasks."""
    return _asks(environment)


def task_asks(template: Any, environment: Asks) -> Asks | None:
    """What a task says of its own: ``None`` where that is what its environment says."""
    found = _asks(template)
    return found if found != environment else None


def _asks(of: Any) -> Asks:
    resources = getattr(of, "resources", None)
    given = {} if resources is None or is_stand_in(resources) else {n: getattr(resources, n, None) for n in _AMOUNTS}
    policy: Any = getattr(of, "reusable", None)
    reused = policy is not None and not isinstance(policy, str) and not is_stand_in(policy)
    return Asks(
        resources={name: _amount(value) for name, value in given.items() if value not in (None, "")},
        accelerator=_accelerator(resources),
        replicas=_replicas(policy.replicas) if reused else None,
        concurrency=int(getattr(policy, "concurrency", 1)) if reused else 1,
        queue=str(getattr(of, "queue", None) or ""),
    )


def _amount(value: Any) -> str:
    """A request and a limit as ``1–2``."""
    return "–".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _replicas(value: Any) -> tuple[int, int]:
    return (int(value[0]), int(value[-1])) if isinstance(value, tuple | list) else (int(value), int(value))


def _accelerator(resources: Any) -> str:
    """``A100:2``, with its partition; the count alone where no device is named."""
    asked = getattr(resources, "gpu", None)
    if asked in (None, 0, "") or is_stand_in(resources):
        return ""
    if isinstance(asked, int | str):
        return str(asked)
    device, quantity, partition = (getattr(asked, name, None) for name in ("device", "quantity", "partition"))
    return ":".join(str(part) for part in (device, quantity) if part) + (f" {partition}" if partition else "")
