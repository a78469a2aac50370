"""The words of findings: how a problem with an import ends its sentence, and what to do about it."""

from __future__ import annotations

from ....locks.nouns import LockedWheel
from ....recipe import Recipe
from ..interpreter.calls import Call
from ..interpreter.uses import Certainty
from .advice import Advice
from .findings import Severity
from .judging import Problem

__all__ = ["SEVERITY", "VERB", "hint", "short", "verdict", "version"]

SEVERITY: dict[Certainty, Severity] = {Certainty.SURE: "error", Certainty.MAY: "warning", Certainty.PERHAPS: "note"}
VERB = {Certainty.SURE: "calls", Certainty.MAY: "may call", Certainty.PERHAPS: "might call"}


def verdict(problem: Problem, image: str) -> tuple[str, str]:
    """The code of a problem, and the end of its sentence; ``image`` is the image's name."""
    match problem.kind:
        case "absent":
            return "import-missing", f"{image} lacks it"
        case "debian":
            return "import-missing", f"{image} lacks Debian's {problem.more}"
        case "removed":
            return "import-missing", f"Python has not had it since {problem.more}, and {image} has no other"
        case "inside":
            return "import-unknown", f"{image} has {problem.more}, which has no file for it"
        case "unknown":
            return "not-checked", f"the contents of {problem.more} could not be had"


def hint(
    problem: Problem,
    advice: Advice,
    caller: object,
    callee: object | None,
    recipe: Recipe | None,
    wheel: LockedWheel | None,
) -> str | None:
    """What to do about a problem in the image of ``caller``; ``recipe`` is the callee's, ``wheel`` what is missing."""
    match problem.kind:
        case "absent":
            return advice.requirement(caller, callee, recipe, wheel, problem.module)
        case "debian":
            return f'add it: `.with_apt_packages("{problem.more}")`'
        case "removed":
            return f"use what replaces `{problem.module}`, or an image with an earlier Python"
        case "inside":
            return None
        case "unknown":
            return "check again where the index can be reached, or after a build"


def short(call: Call) -> str:
    """The callee's own name, without its environment's."""
    return call.callee.removeprefix(f"{call.environment}.") if call.environment else call.callee


def version(wheel: LockedWheel | None) -> str:
    """``" (biopython 1.86)"``, or nothing."""
    return f" ({wheel.name} {wheel.version})" if wheel is not None else ""
