"""Every form in which a task can be called, and every form that is no call."""

from __future__ import annotations

import textwrap

import pytest

from .conftest import IMAGE, Make

TASKS = (
    IMAGE
    + """
other = flyte.TaskEnvironment("other", image=image)

@other.task
def one(x: int) -> int:
    return x

@other.task
async def two(x: int) -> int:
    return x

ALL = {"one": one, "two": two}
"""
)

MAIN = """
import asyncio
import contextlib
import functools
import importlib
import sys
import flyte
import steps
import tasks
from tasks import ALL, image, one, two
from tasks import one as renamed

env = flyte.TaskEnvironment("env", image=image)

"""

STEPS = """
import contextlib
import dataclasses
import functools
import flyte
from tasks import one, two

def helper(x):
    return one(x)

def deep(x):
    return helper(x)

def ping(n):
    return pong(n - 1) if n else one(n)

def pong(n):
    return ping(n)

def apply(f, x):
    return f(x)

def apply_all(*fs, **named):
    for f in (*fs, *named.values()):
        f(1)

def pick(flag):
    if flag:
        return one
    return two

def retried(f):
    @functools.wraps(f)
    def inner(*a, **k):
        one(0)
        return f(*a, **k)
    return inner

@retried
def decorated(x):
    return two(x)

@functools.lru_cache
def cached(x):
    return one(x)

@flyte.trace
async def traced(x):
    return await two(x)

@contextlib.contextmanager
def opened():
    one(1)
    yield two

class Plain:
    def work(self, x):
        return one(x)

class Better(Plain):
    def work(self, x):
        return two(x)

class Base:
    kind = one
    def go(self, x):
        return self.step(x)
    def step(self, x):
        return x

class Runner(Base):
    def __init__(self, task):
        self.task = task
    def step(self, x):
        return self.task(x)
    @property
    def value(self):
        return one(1)
    @staticmethod
    def static(x):
        return one(x)
    @classmethod
    def of(cls, x):
        return cls(one).go(x)
    def __call__(self, x):
        return two(x)
    def __enter__(self):
        one(1)
        return self
    def __exit__(self, *exc):
        return None
    def __iter__(self):
        two(1)
        return iter(())

class Child(Runner):
    def __init__(self):
        super().__init__(two)
    def step(self, x):
        return super().step(x)

@dataclasses.dataclass
class Held:
    task: object
    def go(self):
        return self.task(1)

RUNNER = Runner(one)
PARTIAL = functools.partial(two, 1)
BOUND = functools.partial(apply, one, x=1)
REGISTRY = {}

def register(name):
    def keep(f):
        REGISTRY[name] = f
        return f
    return keep

@register("x")
def first_step(x):
    return one(x)

@register("y")
def second_step(x):
    return two(x)

def defaulted(x, f=one):
    return f(x)

STEPS = [one, two]

async def gather(ts):
    for t in ts:
        await t(1)
"""

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
