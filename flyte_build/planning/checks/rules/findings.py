"""What a check found: one value for a person, an annotation and a machine. Decides nothing, prints nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

from ....kernel.canonical import Json
from ....kernel.values import dataclass

__all__ = ["CODES", "Finding", "Severity", "in_order"]

Severity: TypeAlias = Literal["error", "warning", "note"]

_RANK: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}

CODES = {
    "depends-on-missing": "a called task's environment is not reached by `depends_on` (constraint 1)",
    "import-missing": "a module that is imported in an image is in no distribution of its lock (constraint 2)",
    "import-unknown": "a distribution of the lock owns the package, but no file of it is the module that is imported",
    "module-unreadable": "a module of the project could not be read or imported, so that nothing in it was checked",
    "not-checked": "there is no lock, or a wheel's contents could not be had, so that an import could not be judged",
    "task-without-environment": "a called task belongs to no environment, so that nothing can be said of its image",
    "undecided-call": "a call or an import whose target the source does not tell",
    "version-differs": "caller and callee have different versions of a distribution that the callee's module imports",
}
"""Every code and what it says. A code never changes its meaning."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. ``file`` is relative to the project's root, ``line`` counts from 1 (0: the file as a whole).

    ``environment`` is the one whose definition or image has to change; ``hint`` says how.
    """

    severity: Severity
    code: str
    message: str
    file: str
    line: int
    environment: str
    hint: str | None = None

    def to_json(self) -> dict[str, Json]:
        return {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "environment": self.environment,
            "hint": self.hint,
        }


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Without repeats; errors first, then by place, so that equal projects give equal lists."""

    def key(f: Finding) -> tuple[int, str, int, str, str, str, str]:
        return _RANK[f.severity], f.file, f.line, f.code, f.environment, f.message, f.hint or ""

    return sorted(set(findings), key=key)
