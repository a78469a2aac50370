"""What really runs is found: programs are made up, run, and compared with what was read off them."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyte_build.planning.checks.interpreter.calls import CallGraph
from flyte_build.project.loading import load
from flyte_build.project.source_files import Sources

from .conftest import IMAGE

_NUMBERS = itertools.count()

# How a function of the program calls `{}` (another function or a task); each form really calls it once or more.
_CALLS = [
    "{}()",
    "f = {}\n    f()",
    "f = g = {}\n    g()",
    "(lambda: {}())()",
    "[{}() for _ in range(2)]",
    "list(map(lambda _: {}(), [1]))",
    "functools.partial({})()",
    "for f in ({}, ):\n        f()",
    "[f() for f in [{}]]",
    "{{'k': {}}}['k']()",
    "d = {{}}\n    d['k'] = {}\n    d['k']()",
    "todo = []\n    todo.append({})\n    todo[0]()",
    "apply({})",
    "apply(f={})",
    "apply(functools.partial({}))",
    "apply(lambda: {}())",
    "apply_all({}, {})",
    "apply_all(*[{}])",
    "pick({})()",
    "Holder({}).go()",
    "h = Holder(f={})\n    h.go()",
    "Holder({})()",
    "Child({}).go()",
    "Data({}).go()",
    "with Entered({}):\n        pass",
    "for _ in generated({}):\n        pass",
    "def inner():\n        {}()\n    inner()",
    "@wrapped\n    def inner():\n        {}()\n    inner()",
    "globals()['{}']()",
    "getattr(sys.modules[__name__], '{}')()",
    "try:\n        {}()\n    finally:\n        pass",
    "({} if len(RAN) >= 0 else None)()",
    "a, b = {}, None\n    a()",
    "(x := {})\n    x()",
    "match 1:\n        case _:\n            {}()",
    "Holder.static({})",
    "Holder.of({}).go()",
    "_ = Holder({}).value",
    "sorted([1], key=lambda _: {}() or 0)",
    "next(iter([{}]))()",
    "dict(zip(['k'], [{}]))['k']()",
]

_LIBRARY = """
import contextlib, dataclasses, functools, sys
RAN = []
env = flyte.TaskEnvironment("env{number}", image=image)

def apply(f):
    return f()

def apply_all(*fs):
    for f in fs:
        f()

def pick(f):
    return f

def generated(f):
    yield f()

def wrapped(f):
    @functools.wraps(f)
    def inner(*a):
        return f(*a)
    return inner

class Holder:
    def __init__(self, f):
        self.f = f
    def go(self):
        return self.f()
    def __call__(self):
        return self.go()
    @property
    def value(self):
        return self.go()
    @staticmethod
    def static(f):
        return f()
    @classmethod
    def of(cls, f):
        return cls(f)

class Child(Holder):
    def __init__(self, g):
        super().__init__(g)
    def go(self):
        return super().go()

@dataclasses.dataclass
class Data:
    f: object
    def go(self):
        return self.f()

class Entered(Holder):
    def __enter__(self):
        return self.go()
    def __exit__(self, *exc):
        return None
"""


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Four tasks and some functions; each function calls only those before it, so that programs end."""
    lines = []
    names = [f"t{i}" for i in range(4)]
    for name in names:
        lines.append(f"@env.task\ndef {name}() -> None:\n    RAN.append('{name}')\n")
    for i in range(draw(st.integers(1, 6))):
        body = []
        for _ in range(draw(st.integers(1, 3))):
            form = draw(st.sampled_from(_CALLS))
            target = draw(st.sampled_from(names))
            body.append("    " + form.format(target, target))
        lines.append(f"def f{i}():\n" + "\n".join(body) + "\n")
        names.append(f"f{i}")
    lines.append(f"@env.task\ndef main() -> None:\n    {names[-1]}()\n")
    return "\n".join(lines)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs())
def test_what_runs_was_found(tmp_path: Path, program: str) -> None:
    number = next(_NUMBERS)
    path = tmp_path / f"program_{number}.py"
    path.write_text(IMAGE + _LIBRARY.replace("{number}", str(number)) + "\n" + program)
    try:
        project = load(path)
        task = project.task("main")
        module = sys.modules[path.stem]
        module.main.func()
        reach = CallGraph(Sources(project.root)).of_task(task.template, task.full_name)
        found = {call.callee.rpartition(".")[2]: call.certainty.name for call in reach.calls}
        assert set(module.RAN) <= {name for name, certainty in found.items() if certainty == "SURE"}
        # Nothing else is said to be called for sure: these programs have no branch that is not taken.
        assert {name for name, certainty in found.items() if certainty == "SURE"} == set(module.RAN)
        assert reach.undecided == ()
    finally:
        sys.modules.pop(path.stem, None)


def test_the_forms_really_call(tmp_path: Path) -> None:
    """Each form alone, so that the property above cannot hold for want of calls."""
    for i, form in enumerate(_CALLS):
        called = form.format("t0", "t0")
        text = "@env.task\ndef t0() -> None:\n    RAN.append('t0')\n\ndef f():\n    " + called + "\n"
        names: dict[str, object] = {"__name__": "program", "sys": sys}
        code = compile(IMAGE + _LIBRARY.replace("{number}", f"x{i}") + text, "program", "exec")
        module = type(sys)("program")
        sys.modules["program"] = module
        try:
            vars(module).update(names)
            exec(code, vars(module))  # noqa: S102
            vars(module)["f"]()
        except Exception as e:
            pytest.fail(f"{form}: {e!r}")
        finally:
            del sys.modules["program"]
        assert vars(module)["RAN"], form
