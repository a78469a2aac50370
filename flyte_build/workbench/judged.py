"""What the checks of calls said, with the locks that they saw: a value, for whoever may say it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..kernel.errors import FlyteBuildError
from ..kernel.values import dataclass
from ..locks.lockfile import read

if TYPE_CHECKING:
    from ..locks.nouns import Lock
    from ..planning.checks import Finding
    from ..planning.workspace import Workspace

__all__ = ["Judged", "locks_now"]


@dataclass(frozen=True, slots=True)
class Judged:
    """``findings`` are what is wrong with the calls of ``environments``, on the ``platform`` that was asked for;
    ``locks`` are all of the project's, by environment, or ``None`` where there was one that cannot be read;
    ``consulted`` are the wheels whose modules were looked at, by SHA-256."""

    environments: tuple[str, ...]
    platform: str | None
    locks: Mapping[str, Lock] | None
    consulted: frozenset[str]
    findings: tuple[Finding, ...]


def locks_now(workspace: Workspace) -> Mapping[str, Lock] | None:
    """The locks that there are, by environment; ``None`` where one cannot be read."""
    try:
        found = {name: read(workspace.lockfiles, name) for name in workspace.project.environments}
    except FlyteBuildError:
        return None
    return {name: lock for name, lock in found.items() if lock is not None}
