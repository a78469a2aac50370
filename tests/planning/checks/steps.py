"""A project whose tasks are called in every way: ``tasks``, ``steps`` with helpers, and the head of ``main``."""

from __future__ import annotations

from .conftest import IMAGE

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
