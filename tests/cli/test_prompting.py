"""What a run's conditions wait for is asked of who sits at the terminal: a pseudo-terminal, typed into by the test."""

from __future__ import annotations

import os
import pty
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from flyte_build.cli import prompting
from flyte_build.cli.prompting import Prompter
from flyte_build.kernel.errors import InputError
from flyte_build.submit.action import Phase
from flyte_build.submit.journal import ActionRecord

# Far more than any machine takes: who gets there waits for what does not come.
LONG = 120.0


def condition(name: str, task: str, phase: Phase = Phase.PAUSED, asks: str = "bool") -> ActionRecord:
    return ActionRecord(name, "a0", "condition", task=task, phase=phase, asks=asks, prompt=f"{task}, is it ok?")


@dataclass
class Somebody:
    """At a terminal: hears what is asked, types, and sees which answers come of it."""

    keys: int
    terminal: int
    said: queue.Queue[str] = field(default_factory=queue.Queue)
    answers: queue.Queue[tuple[str, str]] = field(default_factory=queue.Queue)
    held: list[str] = field(default_factory=list)
    heard: str = ""

    def prompter(self) -> Prompter:
        return Prompter(
            self._answer, lambda: self.held.append("hold"), lambda: self.held.append("go on"), self.terminal
        )

    def _answer(self, name: str, text: str) -> None:
        if text not in ("yes", "no"):
            raise InputError(f"expected true or false, found {text!r}")
        self.answers.put((name, text))

    def hears(self, words: str) -> None:
        """Wait until these were printed, and forget them."""
        while words not in self.heard:
            self.heard += self.said.get(timeout=LONG)
        self.heard = self.heard.partition(words)[2]

    def types(self, text: str) -> None:
        os.write(self.keys, text.encode())


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> Iterator[Somebody]:
    keys, terminal = pty.openpty()
    who = Somebody(keys, terminal)

    class Out:
        def print(self, text: str, end: str = "\n", **_: object) -> None:
            who.said.put(text + end)

    monkeypatch.setattr(prompting, "stderr", Out)
    yield who
    os.close(keys)
    os.close(terminal)


def test_an_answer_of_its_kind_is_asked_for_until_there_is_one(somebody: Somebody) -> None:
    prompter = somebody.prompter()
    prompter.hear(ActionRecord("t", "a0", task="env.task", phase=Phase.RUNNING))
    prompter.hear(condition("c1", "approve"))
    somebody.hears("approve, is it ok?[dim] (true or false)[/] ")
    somebody.types("maybe\n")
    somebody.hears("expected true or false, found 'maybe'")
    somebody.hears("approve, is it ok?")
    somebody.types("\n")
    somebody.hears("approve, is it ok?")
    somebody.types("yes\n")
    assert somebody.answers.get(timeout=LONG) == ("c1", "yes")
    prompter.stop()
    assert somebody.answers.empty()
    assert somebody.held[0] == "hold"


def test_conditions_are_asked_for_one_after_the_other(somebody: Somebody) -> None:
    prompter = somebody.prompter()
    prompter.hear(condition("c1", "first"))
    prompter.hear(condition("c2", "second"))
    somebody.hears("first, is it ok?")
    somebody.types("yes\n")
    somebody.hears("second, is it ok?")
    somebody.types("no\n")
    assert [somebody.answers.get(timeout=LONG) for _ in range(2)] == [("c1", "yes"), ("c2", "no")]
    prompter.stop()


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.TIMED_OUT, Phase.ABORTED])
def test_what_is_answered_elsewhere_is_not_asked_any_longer(somebody: Somebody, phase: Phase) -> None:
    prompter = somebody.prompter()
    prompter.hear(condition("c1", "approve"))
    somebody.hears("approve, is it ok?")
    somebody.types("half a li")
    prompter.hear(condition("c1", "approve", phase))
    somebody.hears("not asked any longer")
    prompter.stop()
    assert somebody.answers.empty()


def test_the_end_of_input_is_no_answer(somebody: Somebody) -> None:
    prompter = somebody.prompter()
    prompter.hear(condition("c1", "approve"))
    somebody.hears("approve, is it ok?")
    somebody.types("\x04")
    somebody.hears("`flyte-build signal RUN approve VALUE` answers it from elsewhere")
    prompter.stop()
    assert somebody.answers.empty()


def test_nothing_is_left_when_the_run_ends(somebody: Somebody) -> None:
    prompter = somebody.prompter()
    prompter.hear(condition("c1", "approve"))
    somebody.hears("approve, is it ok?")
    prompter.stop()
    prompter.hear(condition("c2", "later"))
    threads = [t for t in threading.enumerate() if t.name == "prompt"]
    for thread in threads:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in threads)
