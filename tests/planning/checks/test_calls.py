"""Every form in which a task can be called, and every form that is no call."""

from __future__ import annotations

import textwrap

import pytest

from .conftest import Make
from .steps import MAIN, STEPS, TASKS

FORMS = [
    # direct
    ("one(1)", {"one": "SURE"}),
    ("await two(1)", {"two": "SURE"}),
    ("await one.aio(1)", {"one": "SURE"}),
    ("f = one.aio\nawait f(1)", {"one": "SURE"}),
    ("one.override(retries=2)(1)", {"one": "SURE"}),
    ("one.override(retries=2).override(short_name='x')(1)", {"one": "SURE"}),
    ("await two.override(retries=2).aio(1)", {"two": "SURE"}),
    ("tasks.one(1)", {"one": "SURE"}),
    ("renamed(1)", {"one": "SURE"}),
    ("f = one\nf(1)", {"one": "SURE"}),
    ("f = g = one\ng(1)", {"one": "SURE"}),
    ("f, g = one, two\nf(1)", {"one": "SURE"}),
    ("(f := one)\nf(1)", {"one": "SURE"}),
    ("f = one if x else two\nf(1)", {"one": "SURE", "two": "SURE"}),
    ("(one or two)(1)", {"one": "SURE", "two": "SURE"}),
    ("return one(1)", {"one": "SURE"}),
    ("print(one(1))", {"one": "SURE"}),
    ("assert one(1)", {"one": "SURE"}),
    ("x: int = one(1)", {"one": "SURE"}),
    ("match x:\n    case 1:\n        one(1)", {"one": "SURE"}),
    ("try:\n    one(1)\nexcept ValueError:\n    two(1)", {"one": "SURE", "two": "SURE"}),
    ("while one(1):\n    pass", {"one": "SURE"}),
    # many at once
    ("list(flyte.map(one, [1, 2]))", {"one": "SURE"}),
    ("async for _ in flyte.map.aio(one, [1]):\n    pass", {"one": "SURE"}),
    ("list(flyte.map(functools.partial(one, x=1)))", {"one": "SURE"}),
    ("await asyncio.gather(two(1), two(2))", {"two": "SURE"}),
    ("await asyncio.gather(*[two(i) for i in range(3)])", {"two": "SURE"}),
    ("async with asyncio.TaskGroup() as g:\n    g.create_task(two(1))", {"two": "SURE"}),
    ("await asyncio.to_thread(one, 1)", {"one": "SURE"}),
    ("list(map(one, [1]))", {"one": "SURE"}),
    ("[one(i) for i in range(3)]", {"one": "SURE"}),
    ("{i: one(i) for i in range(3)}", {"one": "SURE"}),
    ("sum(one(i) for i in range(3))", {"one": "SURE"}),
    ("with flyte.group('g'):\n    one(1)", {"one": "SURE"}),
    # functions that are made
    ("f = functools.partial(one, 1)\nf()", {"one": "SURE"}),
    ("steps.PARTIAL()", {"two": "SURE"}),
    ("steps.BOUND()", {"one": "SURE"}),
    ("steps.REGISTRY[str(x)](1)", {"one": "SURE", "two": "SURE"}),
    ("steps.defaulted(1)", {"one": "SURE"}),
    ("f = lambda i: one(i)\nf(1)", {"one": "SURE"}),
    ("def f(i):\n    return one(i)\nf(1)", {"one": "SURE"}),
    ("async def f(i):\n    return await two(i)\nawait f(1)", {"two": "SURE"}),
    ("async def f(i):\n    return await two(i)\nawait asyncio.gather(*(f(i) for i in range(3)))", {"two": "SURE"}),
    ("t = one\ndef f():\n    return t(1)\nf()", {"one": "SURE"}),
    ("@steps.retried\ndef f(i):\n    return i\nf(1)", {"one": "SURE"}),
    ("sorted([1], key=lambda i: one(i))", {"one": "SURE"}),
    ("list(iter(lambda: one(1), 0))", {"one": "MAY"}),
    # imports in the function
    ("from tasks import two as t\nawait t(1)", {"two": "SURE"}),
    ("import tasks as m\nm.one(1)", {"one": "SURE"}),
    ("importlib.import_module('tasks').one(1)", {"one": "SURE"}),
    ("getattr(tasks, 'one')(1)", {"one": "SURE"}),
    ("sys.modules['tasks'].one(1)", {"one": "SURE"}),
    ("for name in ('one', 'two'):\n    getattr(tasks, name)(1)", {"one": "SURE", "two": "SURE"}),
    ("name = 'one'\ngetattr(tasks, name)(1)", {"one": "SURE"}),
    ("name = 'two'\nALL[name](1)", {"two": "SURE"}),
    ("globals()['one'](1)", {"one": "SURE"}),
    # containers
    ("ALL['one'](1)", {"one": "SURE"}),
    ("ALL[str(x)](1)", {"one": "SURE", "two": "SURE"}),
    ("ALL.get('one')(1)", {"one": "SURE", "two": "SURE"}),
    ("for t in ALL.values():\n    t(1)", {"one": "SURE", "two": "SURE"}),
    ("for name, t in ALL.items():\n    t(1)", {"one": "SURE", "two": "SURE"}),
    ("for i, t in enumerate([one, two]):\n    t(i)", {"one": "SURE", "two": "SURE"}),
    ("[t(1) for t in (one, two)]", {"one": "SURE", "two": "SURE"}),
    ("steps.STEPS[0](1)", {"one": "SURE"}),
    ("todo = []\ntodo.append(one)\nfor t in todo:\n    t(1)", {"one": "SURE"}),
    ("d = {}\nd['x'] = one\nd['x'](1)", {"one": "SURE"}),
    ("await steps.gather([one, two])", {"one": "SURE", "two": "SURE"}),
    ("other = flyte\ntasks.other.tasks['other.one'](1)", {"one": "SURE"}),
    # helpers
    ("steps.helper(1)", {"one": "SURE"}),
    ("steps.deep(1)", {"one": "SURE"}),
    ("steps.ping(3)", {"one": "SURE"}),
    ("steps.pong(3)", {"one": "SURE"}),
    ("steps.apply(one, 1)", {"one": "SURE"}),
    ("steps.apply(f=one, x=1)", {"one": "SURE"}),
    ("steps.apply(lambda i: two(i), 1)", {"two": "SURE"}),
    ("steps.apply_all(one, t=two)", {"one": "SURE", "two": "SURE"}),
    ("steps.apply_all(*[one])", {"one": "SURE"}),
    ("steps.pick(x)(1)", {"one": "SURE", "two": "SURE"}),
    ("steps.decorated(1)", {"one": "SURE", "two": "SURE"}),
    ("steps.cached(1)", {"one": "SURE"}),
    ("await steps.traced(1)", {"two": "SURE"}),
    ("with steps.opened() as t:\n    await t(1)", {"one": "SURE", "two": "SURE"}),
    # classes
    ("steps.Runner(two).go(1)", {"two": "SURE"}),
    ("r = steps.Runner(two)\nr.go(1)", {"two": "SURE"}),
    ("steps.RUNNER.go(1)", {"one": "SURE"}),
    ("steps.RUNNER(1)", {"two": "SURE"}),
    ("steps.Runner(1).value", {"one": "SURE"}),
    ("steps.Runner.static(1)", {"one": "SURE"}),
    ("steps.Runner.of(1)", {"one": "SURE"}),
    ("steps.Child().go(1)", {"two": "SURE"}),
    ("steps.Held(one).go()", {"one": "SURE"}),
    ("steps.Held(task=two).go()", {"two": "SURE"}),
    ("with steps.Runner(1):\n    pass", {"one": "SURE"}),
    ("for _ in steps.Runner(1):\n    pass", {"two": "SURE"}),
    ("def f(r: steps.Base):\n    return r.go(1)\nf(object())", {}),
    # the task's own function, run here
    ("steps.helper(one.func(1))", {"one": "SURE"}),
    # perhaps
    ("open('x').write(one)", {"one": "MAY"}),
    ("return [one]", {}),
    ("yield one", {"one": "MAY"}),
    ("x.callback = one", {"one": "MAY"}),
    ("flyte.run(one, x=1)", {"one": "PERHAPS"}),
    # no calls
    ("f = one", {}),
    ("one.name", {}),
    ("print(one)", {}),
    ("isinstance(one, int)", {}),
    ("x is one", {}),
    ("f'{one}'", {}),
    ("one.func(1)", {}),
    ("def f():\n    one(1)", {}),
    ("f = lambda: one(1)", {}),
    ("if False:\n    one(1)", {}),
    ("steps.Runner", {}),
]


@pytest.mark.parametrize(("body", "expected"), FORMS, ids=[body for body, _ in FORMS])
def test_a_form_of_call(make: Make, body: str, expected: dict[str, str]) -> None:
    main = MAIN + "@env.task\nasync def main(x: int) -> int:\n" + textwrap.indent(body + "\n", "    ")
    found = make(tasks=TASKS, steps=STEPS, main=main).called("main")
    # What a class's operators call is a guess of its own; see below.
    assert {k: s for k, s in found.items() if s != "PERHAPS" or expected.get(k) == s} == expected
