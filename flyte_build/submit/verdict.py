"""The verdict on an attempt, from what it left behind and how its processes ended.

The stock runtime exits 0 when the user's task fails: ``error.pb`` or ``outputs.pb`` decides, the exit code only where
there is neither. The codes are those of Flyte's backend, which the SDK turns into its exception classes. Pure.
"""

from __future__ import annotations

from typing import Literal

from flyteidl2.core import execution_pb2
from google.protobuf.message import DecodeError

from ..kernel.values import dataclass
from .action import ErrorInfo, Outcome, Phase

__all__ = ["Verdict", "judge"]

LOG_LINES = 20
# What a task left that may not be taken over: its own doing, and another attempt would do it again.
THE_TASKS = frozenset({"BadErrorFile", "BadOutputs"})
# It was ended for it, whatever it said or left before.
_BEYOND = {"disk": "DiskLimitExceeded", "files": "TooManyFiles"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """``recoverable`` says whether another attempt may help; it is the retry policy that decides.

    ``uncounted``: it was none of the task's attempts, so another takes its place.
    """

    phase: Phase
    error: ErrorInfo | None = None
    recoverable: bool = False
    uncounted: bool = False


def judge(
    outcome: Outcome, error: bytes | None, *, outputs: bool, wanted: bool, timeout: float | None, log: str = ""
) -> Verdict:
    """Judge an attempt.

    ``error`` is its error.pb, ``outputs`` whether it left outputs.pb and ``wanted`` whether its task has any,
    ``timeout`` its limit in seconds, ``log`` the end of its log.
    """
    if outcome.reason == "error":
        whose = "user" if outcome.code in THE_TASKS else outcome.whose
        return Verdict(Phase.FAILED, ErrorInfo(outcome.code or "LaunchFailed", outcome.message, whose), outcome.again)
    if outcome.reason == "timeout":
        message = f"ran longer than its timeout of {timeout:g} s" if timeout is not None else "ran too long"
        return Verdict(Phase.TIMED_OUT, ErrorInfo("MAX_RUNTIME_EXCEEDED", message), recoverable=True)
    if outcome.reason in _BEYOND:
        return Verdict(Phase.FAILED, ErrorInfo(_BEYOND[outcome.reason], outcome.message), recoverable=True)
    if error is not None:
        return _told(error, outcome, log)
    if outcome.reason == "lost" and not outputs:
        found = ErrorInfo(outcome.code or "Interrupted", outcome.message, "system")
        return Verdict(Phase.FAILED, found, recoverable=True, uncounted=True)
    if outcome.reason == "oom":
        return Verdict(Phase.FAILED, ErrorInfo("OOMKilled", outcome.message), recoverable=True)
    if outputs or (outcome.exit_code == 0 and not wanted):
        return Verdict(Phase.SUCCEEDED)
    if outcome.reason == "pids":
        return Verdict(Phase.FAILED, ErrorInfo("TooManyProcesses", outcome.message), recoverable=True)
    message = f"ended with {_ending(outcome.exit_code)} and left neither outputs nor an error"
    return Verdict(Phase.FAILED, ErrorInfo("ContainerFailed", message + _end_of(log), "system"), recoverable=True)


def _end_of(log: str) -> str:
    tail = "\n".join(log.rstrip().splitlines()[-LOG_LINES:])
    return f"; the end of its log:\n{tail}" if tail else ""


def _ending(code: int) -> str:
    return f"signal {code - 128}" if code > 128 else f"exit code {code}"


def _told(error: bytes, outcome: Outcome, log: str) -> Verdict:
    try:
        found = execution_pb2.ErrorDocument.FromString(error).error
    except DecodeError as e:
        return Verdict(Phase.FAILED, ErrorInfo("BadErrorFile", f"error.pb cannot be read: {e}", "system"))
    if not (found.code or found.message):
        # The runtime names every error: what says nothing was begun, and could not be written.
        message = (
            f"ended with {_ending(outcome.exit_code)} and left an error that says nothing ({len(error)} bytes): "
            f"its run's folder may have no space left{_end_of(log)}"
        )
        return Verdict(Phase.FAILED, ErrorInfo("ContainerFailed", message, "system"), recoverable=True)
    message = found.message
    if outcome.reason in ("oom", "pids"):
        message = f"{message}\n({outcome.message})"
    kind: Literal["user", "system"] = "system" if found.origin == execution_pb2.ExecutionError.SYSTEM else "user"
    return Verdict(
        Phase.FAILED,
        ErrorInfo(found.code, message, kind),
        recoverable=found.kind == execution_pb2.ContainerError.RECOVERABLE,
    )
