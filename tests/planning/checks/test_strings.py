"""Code that an environment is given as text is checked as any of its tasks: what it calls, and who calls it."""

from __future__ import annotations

import pytest

from .conftest import IMAGE, Make

TASKS = (
    IMAGE
    + """
image = image.with_pip_packages("six")
other = flyte.TaskEnvironment("other", image=image)
@other.task
async def add(x: int, y: int) -> int: return x + y
@flyte.trace
async def through(x: int) -> int: return await add(x, 1)
env = flyte.TaskEnvironment("env", image=image, depends_on=[])
code = env.sandbox.orchestrator(
    {text!r}, tasks=[add, through], inputs={{"x": int, "y": int}}, output=int, name="code")
top = flyte.TaskEnvironment("top", image=image)
@top.task
async def main() -> int: return await code.aio(x=1, y=2)
"""
)


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("x + y", {}),
        ("add(x, y) * 2", {"add": "SURE"}),
        ("if x:\n    y = add(x, y)\ny", {"add": "MAY"}),
        ("[add(i, y) for i in range(x)]", {"add": "MAY"}),
        ("y = x and add(x, y)\nadd(x, y)", {"add": "SURE"}),
        ("through(x)", {"add": "SURE"}),
        ("unknown(x)", {}),
    ],
)
def test_what_its_text_calls(make: Make, text: str, called: dict[str, str]) -> None:
    assert make(main=TASKS.format(text=text)).called("code") == called


def test_both_of_its_calls_need_a_dependency(make: Make) -> None:
    made = make(main=TASKS.format(text="add(x, y)"))
    found = made.check(*(made.lock(e) for e in ("env", "other", "top")))
    line = 1 + TASKS[: TASKS.index("code =")].count("\n")
    assert [f"{f.file}:{f.line}: {f.message}" for f in found] == [
        f"main.py:{line}: code (env) calls add (other), but env does not depend on other",
        f"main.py:{line + 4}: main (top) calls code (env), but top does not depend on env",
    ]


def test_it_is_listed_where_it_was_made(make: Make) -> None:
    made = make(main=TASKS.format(text="x + y"))
    line = 1 + TASKS[: TASKS.index("code =")].count("\n")
    assert made.project.task("code").location == f"main.py:{line}"
    assert [t.name for t in made.project.tasks if t.environment == "env"] == ["code"]
