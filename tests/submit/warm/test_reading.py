"""An action's arguments in a replica: what the runtime's own command line makes of them, for less."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from typing import Any

import pytest
from flyte._bin.runtime import main

from flyte_build.submit.warm import replica
from flyte_build.submit.warm.replica import Reading


class Counted:
    """The runtime's command, and how often it read."""

    def __init__(self) -> None:
        self.params = main.params
        self.asked = 0

    def make_context(self, name: str, args: list[str]) -> Any:
        self.asked += 1
        return main.make_context(name, args)


def arguments(action: str, *more: str, task: str = "one", checkpoint: str = '""') -> list[str]:
    return [
        "a0", "--inputs", f"/{action}/inputs.pb", "--outputs-path", f"/{action}/1", "--version", "v", "--run-base-dir",
        "/meta", "--run-name", "r1", "--name", action, "--org", "o", "--project", "p", "--domain", "d",
        "--raw-data-path", f"/raw/{action}", "--checkpoint-path", f"/raw/{action}/c", "--prev-checkpoint", checkpoint,
        "--tgz", "b.tgz", "--dest", ".", *more, "--resolver", "a.b.C", "mod", "m", "instance", task,
    ]  # fmt: skip


def test_the_second_of_a_task_is_read_by_its_places() -> None:
    command = Counted()
    read = Reading(command)
    for action in ("a1", "a2", "a3"):
        argv = arguments(action, checkpoint=f"/raw/{action}/0")
        assert read(argv) == main.make_context("a0", argv[1:]).params
    assert command.asked == 1


@pytest.mark.parametrize(
    "other",
    [
        arguments("a2", task="another"), arguments("a2", "--debug", "true"), arguments("-x"),
        arguments("a2", "--pkl", "b.pkl"), [*arguments("a2"), "more"],
    ],
    ids=["another task", "another option", "a text like an option", "another text", "one more argument"],
)  # fmt: skip
def test_what_is_otherwise_is_the_runtimes_to_read(other: list[str]) -> None:
    command = Counted()
    read = Reading(command)
    read(arguments("a1"))
    assert read(other) == main.make_context("a0", other[1:]).params
    assert command.asked == 2


def test_what_is_given_is_the_callers_to_change() -> None:
    read = Reading(Counted())
    read(arguments("a1")).clear()
    assert read(arguments("a2"))["name"] == "a2"


@pytest.mark.parametrize(("level", "whole"), [("DEBUG", True), ("INFO", False), ("ERROR", False)])
def test_outputs_have_a_text_only_where_a_log_has_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, level: str, *, whole: bool
) -> None:
    @dataclass(frozen=True)
    class Outputs:
        proto_outputs: str

    runtime = types.SimpleNamespace(Outputs=Outputs)
    monkeypatch.setitem(sys.modules, "flyte._internal.runtime.convert", runtime)  # type: ignore[arg-type]
    caplog.set_level(level, "flyte")
    replica.hush()
    assert ("all of it" in f"{Outputs('all of it')}") is whole


def test_a_runtime_that_keeps_its_outputs_elsewhere_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flyte._internal.runtime.convert", types.SimpleNamespace())  # type: ignore[arg-type]
    replica.hush()
