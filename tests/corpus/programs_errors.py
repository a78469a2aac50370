"""Programs about what goes wrong: retries, errors that are caught and that are not, and what is cancelled. See
``programs``."""

from __future__ import annotations

from .programs import parsed

__all__ = ["ERRORS"]

ERRORS = parsed("""
#: retried -> ok after 1
@env.task(retries=2)
async def flaky(marker: str) -> str:
    n = int(os.environ.get("FLYTE_ATTEMPT_NUMBER", "0"))
    if n < 1 and "RUN_NAME" in os.environ:
        raise RuntimeError("not yet")
    return f"ok after {max(n, 1)}"
@env.task
async def main() -> str:
    return await flaky("x")

#: an_error_is_caught -> RuntimeUserError ValueError: no 3
@env.task
async def picky(x: int) -> int:
    raise ValueError(f"no {x}")
@env.task
async def main() -> str:
    try:
        return str(await picky(3))
    except Exception as e:
        return f"{type(e).__name__} {getattr(e, 'code', '')}: {e}"

#: an_error_of_its_own -> RuntimeUserError Mine: lost
class Mine(Exception):
    pass
@env.task
async def fails() -> None:
    raise Mine("lost")
@env.task
async def main() -> str:
    try:
        await fails()
    except Exception as e:
        return f"{type(e).__name__} {getattr(e, 'code', '')}: {e}"
    return "no error"

#: an_error_ends_it -> RuntimeUserError KeyError: 'b'
@env.task
async def look(d: dict[str, int]) -> int:
    return d["b"]
@env.task
async def main() -> str:
    return str(await look({"a": 1}))

#: an_error_among_others -> [1, 'error', 3]
@env.task
async def odd(x: int) -> int:
    if x % 2 == 0:
        raise ValueError("even")
    return x
@env.task
async def main() -> str:
    found = await asyncio.gather(*(odd(x) for x in (1, 2, 3)), return_exceptions=True)
    return repr([x if isinstance(x, int) else "error" for x in found])

#: no_second_try -> NonRecoverableError
@env.task(retries=3)
async def hopeless() -> None:
    raise flyte.errors.NonRecoverableError("never")
@env.task
async def main() -> str:
    try:
        await hopeless()
    except Exception as e:
        return getattr(e, "code", "")
    return "no error"

#: a_fallback -> small
@env.task
async def large() -> str:
    raise MemoryError("too large")
@env.task
async def small() -> str:
    return "small"
@env.task
async def main() -> str:
    try:
        return await large()
    except Exception:
        return await small()

#: the_first_wins -> 1
@env.task
async def one(x: int) -> int:
    if x > 1:
        await asyncio.sleep(600)
    return x
@env.task
async def main() -> str:
    tasks = [asyncio.create_task(one(x)) for x in (1, 2)]
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for t in left:
        t.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return str(next(iter(done)).result())

#: cancelled_and_gone_on -> 2
@env.task
async def forever() -> int:
    await asyncio.sleep(600)
    return 1
@env.task
async def two() -> int:
    return 2
@env.task
async def main() -> str:
    t = asyncio.create_task(forever())
    await two()
    t.cancel()
    await asyncio.gather(t, return_exceptions=True)
    return str(await two())
""")
