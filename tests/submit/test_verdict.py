"""What an attempt's remains say about it."""

from __future__ import annotations

from typing import Any

import pytest
from flyteidl2.core import execution_pb2

from flyte_build.submit.action import ErrorInfo, Outcome, Phase
from flyte_build.submit.verdict import judge


def error(
    kind: int = execution_pb2.ContainerError.NON_RECOVERABLE, origin: int = execution_pb2.ExecutionError.USER
) -> bytes:
    found = execution_pb2.ContainerError(code="ValueError", message="no", kind=kind, origin=origin)
    return execution_pb2.ErrorDocument(error=found).SerializeToString()


RECOVERABLE = execution_pb2.ContainerError.RECOVERABLE
SYSTEM = execution_pb2.ExecutionError.SYSTEM


@pytest.mark.parametrize(
    ("outcome", "remains", "phase", "code", "recoverable"),
    [
        (Outcome(0), {"outputs": True}, Phase.SUCCEEDED, None, False),
        (Outcome(0), {"wanted": False}, Phase.SUCCEEDED, None, False),
        # The runtime may die after it wrote its outputs (a library's exit handler): they stand.
        (Outcome(139), {"outputs": True}, Phase.SUCCEEDED, None, False),
        (Outcome(0), {"error": error(), "outputs": True}, Phase.FAILED, "ValueError", False),
        (Outcome(0), {"error": error(RECOVERABLE)}, Phase.FAILED, "ValueError", True),
        (Outcome(0), {}, Phase.FAILED, "ContainerFailed", True),
        (Outcome(1), {"wanted": False}, Phase.FAILED, "ContainerFailed", True),
        (Outcome(137, "oom", "at 1 MiB"), {}, Phase.FAILED, "OOMKilled", True),
        (Outcome(137, "oom", "at 1 MiB"), {"error": error()}, Phase.FAILED, "ValueError", False),
        (Outcome(1, "pids", "at 9"), {}, Phase.FAILED, "TooManyProcesses", True),
        (Outcome(137, "lost", "evicted", "Interrupted"), {}, Phase.FAILED, "Interrupted", True),
        # Its node went after it was done.
        (Outcome(137, "lost", "evicted", "Interrupted"), {"outputs": True}, Phase.SUCCEEDED, None, False),
        (Outcome(137, "lost", "evicted", "Interrupted"), {"error": error()}, Phase.FAILED, "ValueError", False),
        (Outcome(1, "error", "no image", "ImagePullFailed", again=True), {}, Phase.FAILED, "ImagePullFailed", True),
        (Outcome(137, "disk", "at 9"), {"outputs": True}, Phase.FAILED, "DiskLimitExceeded", True),
        (Outcome(0, "files", "at 9"), {"error": error()}, Phase.FAILED, "TooManyFiles", True),
        (Outcome(1, "pids", "at 9"), {"error": error()}, Phase.FAILED, "ValueError", False),
        # A library that asked for more threads than there may be, and did with fewer.
        (Outcome(0, "pids", "at 9"), {"outputs": True}, Phase.SUCCEEDED, None, False),
        (Outcome(143, "timeout"), {"outputs": True}, Phase.TIMED_OUT, "MAX_RUNTIME_EXCEEDED", True),
        (Outcome(1, "error", "no image", "ImageUnusable"), {}, Phase.FAILED, "ImageUnusable", False),
        (Outcome(0), {"error": b"\xff\xff"}, Phase.FAILED, "BadErrorFile", False),
        (Outcome(1), {"error": b""}, Phase.FAILED, "ContainerFailed", True),
    ],
)
def test_verdicts(outcome: Outcome, remains: dict[str, Any], phase: Phase, code: str | None, recoverable: bool) -> None:
    given: dict[str, Any] = {"error": None, "outputs": False, "wanted": True} | remains
    verdict = judge(outcome, given.pop("error"), timeout=5.0, **given)
    assert (verdict.phase, verdict.recoverable) == (phase, recoverable)
    assert (verdict.error.code if verdict.error else None) == code


def test_the_words_say_what_was_found() -> None:
    def words(outcome: Outcome, **remains: Any) -> str:
        given: dict[str, Any] = {"error": None, "outputs": False, "wanted": True, "timeout": 2.5} | remains
        found = judge(outcome, given.pop("error"), **given).error
        assert found is not None
        return found.message

    assert words(Outcome(0, "timeout")) == "ran longer than its timeout of 2.5 s"
    assert words(Outcome(139)) == "ended with signal 11 and left neither outputs nor an error"
    log = "\n".join(f"line {n}" for n in range(100)) + "\n"
    assert words(Outcome(3), log=log).splitlines()[1:] == [f"line {n}" for n in range(80, 100)]
    for reason in ("oom", "pids"):
        assert words(Outcome(137, reason, "at its limit"), error=error()) == "no\n(at its limit)"


@pytest.mark.parametrize(
    "said", [b"", execution_pb2.ErrorDocument(error=execution_pb2.ContainerError()).SerializeToString()]
)
def test_an_error_that_says_nothing_could_not_be_written(said: bytes) -> None:
    verdict = judge(Outcome(1), said, outputs=False, wanted=True, timeout=None, log="a\nno space left\n")
    assert verdict.error == ErrorInfo(
        "ContainerFailed",
        f"ended with exit code 1 and left an error that says nothing ({len(said)} bytes): its run's folder may have "
        "no space left; the end of its log:\na\nno space left",
        "system",
    )


def test_the_systems_errors_are_not_the_users() -> None:
    verdict = judge(Outcome(0), error(RECOVERABLE, SYSTEM), outputs=False, wanted=True, timeout=None)
    assert verdict.error == ErrorInfo("ValueError", "no", "system")
