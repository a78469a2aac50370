"""What is told of a call: its way, what is a guess, and what cannot be decided."""

from __future__ import annotations

import textwrap

import pytest

from .conftest import Make
from .steps import MAIN, STEPS, TASKS


def test_the_way_goes_through_the_helpers_with_their_lines(make: Make) -> None:
    made = make(tasks=TASKS, steps=STEPS, main=MAIN + "@env.task\ndef main(x: int) -> int:\n    return steps.deep(x)\n")
    (call,) = made.calls("main").calls
    line = len(MAIN.splitlines()) + 3
    assert [str(hop) for hop in call.way] == [f"main (main.py:{line})", "deep (steps.py:12)", "helper (steps.py:9)"]
    assert call.through == " through deep (steps.py:12), helper (steps.py:9)"
    assert call.environment == "other"


def test_the_shortest_way_is_told(make: Make) -> None:
    body = "    steps.deep(x)\n    return one(x)\n"
    made = make(tasks=TASKS, steps=STEPS, main=MAIN + "@env.task\ndef main(x: int) -> int:\n" + body)
    (call,) = made.calls("main").calls
    assert len(call.way) == 1


def test_a_method_of_something_unknown_is_guessed_by_its_name(make: Make) -> None:
    body = "    return x.work(1)\n"
    made = make(tasks=TASKS, steps=STEPS, main=MAIN + "@env.task\ndef main(x) -> int:\n" + body)
    assert made.called("main") == {"one": "PERHAPS", "two": "PERHAPS"}


def test_a_subclass_may_be_behind_an_annotation(make: Make) -> None:
    helper = "def go(r: steps.Plain):\n    return r.work(1)\n\n"
    main = MAIN + helper + "@env.task\ndef main(x: int) -> int:\n    return go(unknown(x))\n"
    assert make(tasks=TASKS, steps=STEPS, main=main).called("main") == {"one": "SURE", "two": "SURE"}


def test_a_remote_task_is_no_local_one(make: Make) -> None:
    body = "import flyte.remote\nthere = flyte.remote.Task.get('other.one', auto_version='latest')\n"
    made = make(
        tasks=TASKS,
        main=MAIN.replace("import steps\n", "") + body + "@env.task\nasync def main(x: int) -> int:\n"
        "    await there(x=1)\n    return await there.override(retries=1)(x=1)\n",
    )
    (call,) = made.calls("main").calls
    assert call.remote
    assert call.environment is None


UNDECIDED = [
    ("getattr(tasks, name)(1)", "which attribute this gives cannot be told"),
    ("n = 'one'\n    n = name\n    getattr(tasks, n)(1)", "which attribute this gives cannot be told"),
    ("importlib.import_module(name).one(1)", "which module this imports cannot be told"),
    ("eval(name)", "what this code does cannot be told"),
    ("exec(name)", "what this code does cannot be told"),
    ("__import__(name)", "what this code does cannot be told"),
    ("name(1)", "`name` is called, and what it is cannot be told"),
    ("steps.apply(name, 1)", "`f` is called, and what it is cannot be told"),
    ("name[0](1)", "what is called here cannot be told"),
]


@pytest.mark.parametrize(("body", "text"), UNDECIDED, ids=[body for body, _ in UNDECIDED])
def test_what_cannot_be_decided_is_said(make: Make, body: str, text: str) -> None:
    main = MAIN + "@env.task\ndef main(name) -> int:\n    " + body + "\n"
    reach = make(tasks=TASKS, steps=STEPS, main=main).calls("main")
    (left,) = reach.undecided
    assert text in left.text
    assert left.way[0].file == "main.py"


@pytest.mark.parametrize(
    "body",
    [
        "getattr(np, name)(1)",
        "np.mean([1])",
        "np.array(x)[0].sum()",
        "frame = pd.read_csv('x')\nframe.groupby('a').apply(len)",
        "', '.join(sorted({1: 2}))",
        "importlib.import_module('json').dumps(1)",
        "getattr(x, 'real')()",
        "data = [1, 2]\ndata[0].bit_length()",
    ],
)
def test_code_of_others_is_not_undecided(make: Make, body: str) -> None:
    text = textwrap.indent(body, "    ")
    main = "import numpy_not_here as np\nimport pandas_not_here as pd\n" + MAIN
    reach = make(
        tasks=TASKS, steps=STEPS, main=main + f"@env.task\ndef main(x: int, name: str) -> int:\n{text}\n"
    ).calls("main")
    assert reach.undecided == ()
    assert reach.calls == ()


def test_a_function_called_in_very_many_ways_is_still_followed(make: Make) -> None:
    """Beyond a bound the arguments are forgotten, and that is said."""
    tasks = TASKS + "".join(f"@other.task\ndef t{i}(x: int) -> int:\n    return x\n" for i in range(60))
    body = "".join(f"    steps.apply(tasks.t{i}, 1)\n" for i in range(60))
    reach = make(tasks=tasks, steps=STEPS, main=MAIN + f"@env.task\ndef main(x: int) -> int:\n{body}").calls("main")
    found = {c.callee for c in reach.calls}
    assert len(found) >= 30
    assert any("`f` is called" in u.text for u in reach.undecided)


def test_decorators_of_the_projects_own_around_a_task(make: Make) -> None:
    main = MAIN + "@env.task\n@steps.retried\ndef main(x: int) -> int:\n    return 1\n"
    assert make(tasks=TASKS, steps=STEPS, main=main).called("main") == {"one": "SURE"}
