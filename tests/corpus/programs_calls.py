"""Programs about calls: how tasks call tasks, at once and one after the other. See ``programs``."""

from __future__ import annotations

from .programs import parsed

__all__ = ["CALLS"]

CALLS = parsed("""
#: fan_out -> [0, 1, 4, 9]
@env.task
async def square(x: int) -> int:
    return x * x
@env.task
async def main() -> str:
    return repr(list(await asyncio.gather(*(square(i) for i in range(4)))))

#: fan_out_and_in -> 14
@env.task
async def square(x: int) -> int:
    return x * x
@env.task
async def total(xs: list[int]) -> int:
    return sum(xs)
@env.task
async def main() -> str:
    return str(await total(list(await asyncio.gather(*(square(i) for i in range(4))))))

#: as_they_come -> [0, 10, 20]
@env.task
async def ten(x: int) -> int:
    return 10 * x
@env.task
async def main() -> str:
    return repr(sorted([await one for one in asyncio.as_completed([ten(i) for i in range(3)])]))

#: some_at_once -> [1, 2, 3, 4]
@env.task
async def more(x: int) -> int:
    return x + 1
@env.task
async def main() -> str:
    room = asyncio.Semaphore(2)
    async def one(i: int) -> int:
        async with room:
            return await more(i)
    return repr(await asyncio.gather(*(one(i) for i in range(4))))

#: task_groups -> 3
@env.task
async def one(x: int) -> int:
    return x
@env.task
async def main() -> str:
    tasks = [asyncio.create_task(one(1)), asyncio.create_task(one(2))]
    await asyncio.wait(tasks)
    return str(sum(t.result() for t in tasks))

#: mapped -> [0, 2, 4]
@env.task
def double(x: int) -> int:
    return 2 * x
@env.task
def main() -> str:
    return repr(list(flyte.map(double, range(3))))

#: mapped_async -> [0, 2, 4]
@env.task
async def double(x: int) -> int:
    return 2 * x
@env.task
async def main() -> str:
    return repr([x async for x in flyte.map.aio(double, range(3), concurrency=2)])

#: mapped_over_two -> ['a1', 'b2']
@env.task
def joined(a: str, n: int) -> str:
    return f"{a}{n}"
@env.task
def main() -> str:
    return repr(list(flyte.map(joined, ["a", "b"], [1, 2])))

#: mapped_with_partial -> ['x0', 'x1']
from functools import partial
@env.task
def joined(a: str, n: int) -> str:
    return f"{a}{n}"
@env.task
def main() -> str:
    return repr(list(flyte.map(partial(joined, "x"), range(2))))

#: mapped_with_failures -> [10, 'RuntimeUserError', 5]
@env.task
async def tenth(x: int) -> int:
    return 10 // x
@env.task
async def main() -> str:
    found = [x async for x in flyte.map.aio(tenth, [1, 0, 2], return_exceptions=True)]
    return repr([x if isinstance(x, int) else type(x).__name__ for x in found])

#: groups -> 6
@env.task
async def one(x: int) -> int:
    return x
@env.task
async def main() -> str:
    total = 0
    for name in ("a", "b"):
        with flyte.group(name):
            total += sum(await asyncio.gather(one(1), one(2)))
    return str(total)

#: recursion -> 8
@env.task
async def fib(n: int) -> int:
    return n if n < 2 else sum(await asyncio.gather(fib(n - 1), fib(n - 2)))
@env.task
async def main() -> str:
    return str(await fib(4) + 5)

#: deep_chain -> 4
@env.task
async def down(n: int) -> int:
    return 0 if n == 0 else 1 + await down(n - 1)
@env.task
async def main() -> str:
    return str(await down(4))

#: sync_calls_sync -> 11
@env.task
def ten(x: int) -> int:
    return 10 * x
@env.task
def more(x: int) -> int:
    return ten(x) + 1
@env.task
def main() -> str:
    return str(more(1))

#: async_calls_sync -> [10, 20]
@env.task
def ten(x: int) -> int:
    return 10 * x
@env.task
async def main() -> str:
    return repr(list(await asyncio.gather(ten.aio(1), ten.aio(2))))

#: two_environments -> low 1
low = flyte.TaskEnvironment("two_environments_low")
env.depends_on.append(low)
@low.task
async def below(x: int) -> str:
    return f"low {x}"
@env.task
async def main() -> str:
    return await below(1)

#: the_same_call_twice -> 2 2
@env.task
async def one(x: int) -> int:
    return x + 1
@env.task
async def main() -> str:
    return f"{await one(1)} {await one(1)}"

#: a_choice -> small
@env.task
async def small(x: int) -> str:
    return "small"
@env.task
async def large(x: int) -> str:
    return "large"
@env.task
async def main() -> str:
    return await (small(3) if 3 < 10 else large(3))

#: until_it_is_enough -> 64
@env.task
async def double(x: int) -> int:
    return 2 * x
@env.task
async def main() -> str:
    x = 4
    while x < 50:
        x = await double(x)
    return str(x)

#: helpers -> 9
async def twice(task, x: int) -> int:
    return await task(await task(x))
@env.task
async def triple(x: int) -> int:
    return 3 * x
@env.task
async def main() -> str:
    return str(await twice(triple, 1))

#: a_class_that_calls -> 5
@env.task
async def add(a: int, b: int) -> int:
    return a + b
class Pipeline:
    def __init__(self, start: int) -> None:
        self.value = start
    async def step(self, by: int) -> "Pipeline":
        self.value = await add(self.value, by)
        return self
@env.task
async def main() -> str:
    return str((await (await Pipeline(0).step(2)).step(3)).value)

#: traced -> 3 1
@flyte.trace
async def traced(x: int) -> int:
    return x + 1
@env.task
async def main() -> str:
    return f"{await traced(2)} {await traced(0)}"

#: traced_sync -> 3
@flyte.trace
def traced(x: int) -> int:
    return x + 1
@env.task
def main() -> str:
    return str(traced(2))

#: overridden -> ok
@env.task
async def small() -> str:
    return "ok"
@env.task
async def main() -> str:
    return await small.override(resources=flyte.Resources(cpu=1, memory="300Mi"), short_name="large", retries=1)()

#: variables -> a b | - -
named = flyte.TaskEnvironment("variables_named", env_vars={"WORD": "a"})
env.depends_on.append(named)
@named.task
async def word() -> str:
    return os.environ.get("WORD", "-")
@env.task
async def main() -> str:
    return f"{await word()} {await word.override(env_vars={'WORD': 'b'})()}"

#: context -> True True
@env.task
async def main() -> str:
    ctx = flyte.ctx()
    return f"{bool(ctx.action.name)} {bool(ctx.action.run_name)}"

#: custom_context -> trace-7
@env.task
async def below() -> str:
    return flyte.get_custom_context().get("id", "-")
@env.task
async def main() -> str:
    with flyte.custom_context(id="trace-7"):
        return await below()

#: cached -> True
import time
@env.task(cache="auto")
async def now(x: int) -> float:
    return time.time()
@env.task
async def main() -> str:
    return repr(await now(1) == await now(1))
""")
