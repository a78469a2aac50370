"""Following calls takes time linear in the code, whatever refers to itself in it, and no more than a bound."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flyte_build.planning.checks.interpreter import rounds
from flyte_build.planning.checks.interpreter.calls import CallGraph
from flyte_build.planning.checks.interpreter.rounds import Rounds, TooMuch
from flyte_build.project.loading import load_module
from flyte_build.project.source_files import Sources

from .conftest import IMAGE, Loaded, Make

HEAD = IMAGE + "env = flyte.TaskEnvironment('env', image=image)\n"
TAIL = "\n    return t\n\n@env.task\ndef one(x: int) -> int:\n    return x\n\n@env.task\ndef main() -> int:\n"

SHAPES = {
    "columns": 't["c{i}"] = t["c{j}"].abs()',
    "reassigned": "t = t.filter({i})",
    "added": 't = t + "{i}" + t',
    "nested": "t = [t, {i}]",
    "unpacked": "t, u = u, t",
    "looped": "for k in t:\n        t[k] = t[{i}]",
    "called": "t.update(t.get({i}))",
    "chained": "x{i} = t if {j} else t\n    t = x{i}",
}


def _steps(make: Make, shape: str, lines: int, folder: int) -> int:
    body = "\n".join("    " + SHAPES[shape].format(i=i, j=i - 1) for i in range(1, lines + 1))
    text = HEAD + f"def prepare(t, u):\n{body}{TAIL}    prepare({{'a': one}}, 1)['a'](1)\n    return 1\n"
    made: Loaded = make(**{f"m{folder}": text, "main": f"from m{folder} import env, main\n"})
    graph = CallGraph(Sources(made.project.root, map(Path, sys.path)), lambda name: load_module(made.project, name))
    task = made.project.task("main")
    before = graph.evaluator.rounds.left
    reach = graph.of_task(task.template, task.full_name)
    assert [c.callee for c in reach.calls] == ["env.one"]
    return before - graph.evaluator.rounds.left


@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_is_linear_in_the_lines(make: Make, shape: str) -> None:
    first = _steps(make, shape, 20, 1)
    for name in [n for n in sys.modules if n in ("m1", "main")]:
        del sys.modules[name]
    assert _steps(make, shape, 80, 2) <= 6 * first


def test_what_takes_too_much_is_a_note_and_the_rest_is_checked(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds.Rounds.__init__, "__defaults__", (2_000,))
    body = "\n".join(f'    t["c{i}"] = t["c{i - 1}"].abs()' for i in range(1, 400))
    made = make(
        main=HEAD + f"def prepare(t):\n{body}{TAIL}    import nothing_has_this\n    return len(prepare({{}}))\n"
    )
    (note,) = [f for f in made.check(made.lock("env")) if f.message.startswith("main: not decided")]
    assert (note.severity, note.code, note.file) == ("note", "undecided-call", "main.py")
    assert note.message == "main: not decided: following what it calls takes more work than a check may"


def test_a_circle_is_followed_until_nothing_is_new() -> None:
    made = Rounds()
    asks = {
        "a": lambda: (*ask("b"), 1),
        "b": lambda: (*ask("c"), *ask("d")),
        "c": lambda: (*ask("b"), 2),
        "d": lambda: (*ask("a"), *ask("c"), 3),
    }

    def ask(name: str) -> tuple[object, ...]:
        return made.answer(name, asks[name])

    for name in "abcd":
        assert set(ask(name)) == {1, 2, 3}


def test_a_chain_deeper_than_one_may_recurse_has_an_answer() -> None:
    made = Rounds()

    def ask(n: int) -> tuple[object, ...]:
        return made.answer(n, lambda: ask(n - 1) if n else ("ground",))

    assert ask(300) == ("ground",)


def test_the_work_is_bounded() -> None:
    made = Rounds(steps=10)
    for n in range(5):
        assert made.answer(n, lambda n=n: (n,)) == (n,)  # type: ignore[misc]
    with pytest.raises(TooMuch):
        made.answer(5, lambda: (5,))
