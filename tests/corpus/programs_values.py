"""Programs about what tasks take and give: values of every kind. See ``programs``."""

from __future__ import annotations

from .programs import parsed

__all__ = ["VALUES"]

VALUES = parsed("""
#: hello -> hello, world
@env.task
def greet(name: str) -> str:
    return f"hello, {name}"
@env.task
def main() -> str:
    return greet("world")

#: scalars -> (3, 1.5, 'a', True)
@env.task
async def back(i: int, f: float, s: str, b: bool) -> tuple[int, float, str, bool]:
    return i, f, s, b
@env.task
async def main() -> str:
    return repr(tuple(await back(3, 1.5, "a", True)))

#: texts -> 'ü\\n"quoted"\\t' 0
@env.task
async def back(s: str) -> str:
    return s
@env.task
async def main() -> str:
    odd = chr(252) + chr(10) + chr(34) + "quoted" + chr(34) + chr(9)
    return f"{await back(odd)!r} {len(await back(''))}"

#: times -> 2026-01-02T03:04:05+00:00 90.0 2026-01-02
from datetime import date, datetime, timedelta, timezone
@env.task
async def back(at: datetime, took: timedelta, day: date) -> tuple[datetime, timedelta, date]:
    return at, took, day
@env.task
async def main() -> str:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    at, took, day = await back(now, timedelta(seconds=90), now.date())
    return f"{at.isoformat()} {took.total_seconds()} {day}"

#: lists -> [1, 4, 9] []
@env.task
async def squares(xs: list[int]) -> list[int]:
    return [x * x for x in xs]
@env.task
async def main() -> str:
    return f"{await squares([1, 2, 3])} {await squares([])}"

#: dictionaries -> {'a': 1, 'b': 2}
@env.task
async def lengths(words: dict[str, str]) -> dict[str, int]:
    return {k: len(v) for k, v in words.items()}
@env.task
async def main() -> str:
    return repr(dict(sorted((await lengths({"a": "x", "b": "xy"})).items())))

#: nested_collections -> [{'a': [1, 2]}, {'b': []}]
@env.task
async def back(x: list[dict[str, list[int]]]) -> list[dict[str, list[int]]]:
    return x
@env.task
async def main() -> str:
    return repr(await back([{"a": [1, 2]}, {"b": []}]))

#: untyped_dictionary -> {'a': 1, 'b': [True, None]}
@env.task
async def back(x: dict) -> dict:
    return x
@env.task
async def main() -> str:
    return repr(await back({"a": 1, "b": [True, None]}))

#: optionals -> None 5
@env.task
async def back(x: Optional[int] = None) -> Optional[int]:
    return x
@env.task
async def main() -> str:
    return f"{await back()} {await back(5)}"

#: unions -> int 3, str 3
@env.task
async def kind(x: int | str) -> str:
    return f"{type(x).__name__} {x}"
@env.task
async def main() -> str:
    return f"{await kind(3)}, {await kind('3')}"

#: enums -> Color.BLUE blue
from enum import Enum
class Color(Enum):
    RED = "red"
    BLUE = "blue"
@env.task
async def other(c: Color) -> Color:
    return Color.BLUE if c is Color.RED else Color.RED
@env.task
async def main() -> str:
    c = await other(Color.RED)
    return f"{c} {c.value}"

#: literals -> fast
from typing import Literal
@env.task
async def mode(m: Literal["fast", "slow"]) -> str:
    return m
@env.task
async def main() -> str:
    return await mode("fast")

#: data_classes -> Point(x=2, y=[1.5], note=None)
from dataclasses import dataclass, field
@dataclass
class Point:
    x: int
    y: list[float] = field(default_factory=list)
    note: Optional[str] = None
@env.task
async def moved(p: Point) -> Point:
    return Point(p.x + 1, p.y + [1.5])
@env.task
async def main() -> str:
    return repr(await moved(Point(1)))

#: nested_dataclasses -> Outer(inner=Inner(n=2), all={'a': Inner(n=3)})
from dataclasses import dataclass
@dataclass
class Inner:
    n: int
@dataclass
class Outer:
    inner: Inner
    all: dict[str, Inner]
@env.task
async def back(o: Outer) -> Outer:
    return Outer(Inner(o.inner.n + 1), {k: Inner(v.n + 1) for k, v in o.all.items()})
@env.task
async def main() -> str:
    return repr(await back(Outer(Inner(1), {"a": Inner(2)})))

#: models -> name='b' tags=['x'] size=None
from pydantic import BaseModel
class Model(BaseModel):
    name: str
    tags: list[str] = []
    size: Optional[int] = None
@env.task
async def renamed(m: Model) -> Model:
    return m.model_copy(update={"name": "b"})
@env.task
async def main() -> str:
    return str(await renamed(Model(name="a", tags=["x"])))

#: nested_models -> 3 ['b', 'a']
from pydantic import BaseModel
class Leaf(BaseModel):
    n: int
class Tree(BaseModel):
    leaves: dict[str, Leaf]
@env.task
async def add(t: Tree) -> int:
    return sum(leaf.n for leaf in t.leaves.values())
@env.task
async def order(t: Tree) -> list[str]:
    return sorted(t.leaves, reverse=True)
@env.task
async def main() -> str:
    t = Tree(leaves={"a": Leaf(n=1), "b": Leaf(n=2)})
    return f"{await add(t)} {await order(t)}"

#: named_tuples -> 6 2.0
from typing import NamedTuple
class Stats(NamedTuple):
    total: int
    mean: float
@env.task
async def stats(xs: list[int]) -> Stats:
    return Stats(sum(xs), sum(xs) / len(xs))
@env.task
async def main() -> str:
    total, mean = await stats([1, 2, 3])
    return f"{total} {mean}"

#: typed_dictionaries -> a 2
from typing_extensions import TypedDict
class Row(TypedDict):
    name: str
    n: int
@env.task
async def more(r: Row) -> Row:
    return {"name": r["name"], "n": r["n"] + 1}
@env.task
async def main() -> str:
    row = await more({"name": "a", "n": 1})
    return f"{row['name']} {row['n']}"

#: defaults -> 1 b [0]; 2 c [0]
@env.task
async def back(x: int = 1, y: str = "b", z: list[int] = [0]) -> str:
    return f"{x} {y} {z}"
@env.task
async def main() -> str:
    return f"{await back()}; {await back(2, y='c')}"

#: no_outputs -> None
@env.task
async def nothing(x: int) -> None:
    print(x)
@env.task
async def main() -> str:
    return repr(await nothing(1))

#: no_inputs -> [7, 7]
@env.task
def seven() -> int:
    return 7
@env.task
def main() -> str:
    return repr([seven(), seven()])

#: any_object -> Thing 5
class Thing:
    def __init__(self, n: int) -> None:
        self.n = n
@env.task
async def make(n: int) -> Thing:
    return Thing(n)
@env.task
async def look(t: Thing) -> str:
    return f"{type(t).__name__} {t.n}"
@env.task
async def main() -> str:
    return await look(await make(5))

""")
